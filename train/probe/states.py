"""What the probes read: the states of every layer at the last token, for many histories of some users.

A user's pairs are split in two halves before anything is drawn. Histories and targets that a probe learns from are of
the one half, those it is tested on of the other: no image is in both, so a probe cannot know a user by their images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from prefgen.history import PreferencePair
from prefgen.prefdisc.model import PrefDisc
from prefgen.prefdisc.packing import Target, pack

AT_ONCE = 32  # images in one forward of the tower


@dataclass(frozen=True)
class ProbeConfig:
    """pairs: of a history (method.md section 1: 8). histories: drawn for each user from each half, each with a target
    pair that is not in it. Defaults ours; the paper gives none."""

    pairs: int = 8
    histories: int = 16
    seed: int = 0


@dataclass(frozen=True)
class ProbeStates:
    """One half's states, in half precision, for n histories of all users.

    histories (n, L + 1, D): at the last history token, after the embedding and after each layer; user (n,): whose.
    targets (2n, L + 1, D): at the last token of an open target turn, before its label; liked (2n,): 1 or 0, and owner
    (2n,): whose.
    """

    histories: Tensor
    user: np.ndarray
    targets: Tensor
    liked: np.ndarray
    owner: np.ndarray


@torch.no_grad()
def collect(
    prefdisc: PrefDisc, users: Sequence[Sequence[PreferencePair]], config: ProbeConfig
) -> tuple[ProbeStates, ProbeStates]:
    """States to learn from and states to be tested on.

    users: each one's pairs, 2 (pairs + 1) at least. Raises ValueError for a user with fewer.
    """
    rng = np.random.default_rng(config.seed)
    rows: tuple[list, list] = ([], [])
    for number, pairs in enumerate(tqdm(users, desc="reading histories", mininterval=10)):
        if len(pairs) < 2 * (config.pairs + 1):
            raise ValueError(f"user {number} has {len(pairs)} pairs, expected {2 * (config.pairs + 1)} at least")
        features = _features(prefdisc, pairs)
        for half, own in zip(rows, np.array_split(rng.permutation(len(pairs)), 2), strict=True):
            drawn = [rng.permutation(own)[: config.pairs + 1] for _ in range(config.histories)]
            half.append(_read(prefdisc, pairs, features, np.stack(drawn), rng))
    return tuple(_joined(half) for half in rows)


def _features(prefdisc: PrefDisc, pairs: Sequence[PreferencePair]) -> Tensor:
    """(pairs, 2, latents, D): liked, then disliked."""
    images = [image.to(prefdisc.device) for pair in pairs for image in (pair.liked, pair.disliked)]
    same = all(image.shape == images[0].shape for image in images)
    batches = torch.stack(images).split(AT_ONCE) if same else [image[None] for image in images]
    return torch.cat([prefdisc.features(batch) for batch in batches]).unflatten(0, (len(pairs), 2))


def _read(
    prefdisc: PrefDisc, pairs: Sequence[PreferencePair], features: Tensor, drawn: np.ndarray, rng: np.random.Generator
) -> tuple[Tensor, Tensor, np.ndarray]:
    """Histories drawn (n, pairs + 1), the last the target -> states (n, L + 1, D), (n, 2, L + 1, D), liked (n, 2)."""
    states, targets, liked = [], [], []
    for rows in drawn:
        prompts = [pairs[row].prompt for row in rows]
        packed = pack(prefdisc.turns, [prompts[:-1]], [[Target(len(rows) - 1, prompts[-1])]]).to(prefdisc.device)
        shown = features[torch.from_numpy(rows)].clone()
        # Either may come first, so that its place says nothing.
        order = rng.permutation(2)
        shown[-1] = shown[-1, torch.from_numpy(order)]
        layers = torch.stack(prefdisc(packed, shown.flatten(0, 1)[None], every_layer=True).layers)[:, 0]
        reads = packed.reads[0, 0]
        # The last history token is the one before the target's first turn.
        last = int(reads[0]) - len(prefdisc.turns.open(prompts[-1]))
        states.append(layers[:, last].half().cpu())
        targets.append(layers[:, reads].transpose(0, 1).half().cpu())
        liked.append(order == 0)
    return torch.stack(states), torch.stack(targets), np.stack(liked)


def _joined(half: list[tuple[Tensor, Tensor, np.ndarray]]) -> ProbeStates:
    states, targets, liked = zip(*half, strict=True)
    user = np.repeat(np.arange(len(half)), len(states[0]))
    return ProbeStates(
        torch.cat(states), user, torch.cat(targets).flatten(0, 1), np.concatenate(liked).reshape(-1), np.repeat(user, 2)
    )
