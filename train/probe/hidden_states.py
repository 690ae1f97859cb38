"""Collects the last-token states of every layer for histories of several users.

First, the pairs of each user are split into two halves. The first half provides the training histories and targets of a
probe. The second half provides the test histories and targets. The halves share no image, so a probe cannot identify
users by their images.
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

BATCH_SIZE = 32  # number of images in a forward pass of the vision tower


@dataclass(frozen=True)
class ProbeConfig:
    """Settings of the probes. The defaults are our choice; the paper gives none.

    Attributes:
        pairs: Number of pairs in a history (paper index section 1: 8).
        histories: Number of histories per user in each half. The target pair of a history is not part of the history.
        seed: Random seed.
    """

    pairs: int = 8
    histories: int = 16
    seed: int = 0


@dataclass(frozen=True)
class ProbeStates:
    """Float16 states of one half, for n histories of all users.

    Attributes:
        histories: States at the last history token, after the embedding and after each layer, (n, L + 1, D).
        user: User of each history, (n,).
        targets: States at the last token of a target turn, before its label, (2n, L + 1, D).
        liked: Whether each target is liked, (2n,).
        target_user: User of each target, (2n,).
    """

    histories: Tensor
    user: np.ndarray
    targets: Tensor
    liked: np.ndarray
    target_user: np.ndarray


@torch.no_grad()
def collect_states(
    prefdisc: PrefDisc, users: Sequence[Sequence[PreferencePair]], config: ProbeConfig
) -> tuple[ProbeStates, ProbeStates]:
    """Collect the training states and the test states of the probes.

    Args:
        prefdisc: The frozen model.
        users: Pairs of each user. Each user needs at least 2 * (config.pairs + 1) pairs.
        config: Settings.

    Raises:
        ValueError: A user has too few pairs.
    """
    rng = np.random.default_rng(config.seed)
    rows: tuple[list, list] = ([], [])
    for number, pairs in enumerate(tqdm(users, desc="encoding histories", mininterval=10)):
        if len(pairs) < 2 * (config.pairs + 1):
            raise ValueError(f"User {number} has {len(pairs)} pairs; expected at least {2 * (config.pairs + 1)}.")
        features = _encode_images(prefdisc, pairs)
        for half, indices in zip(rows, np.array_split(rng.permutation(len(pairs)), 2), strict=True):
            drawn = [rng.permutation(indices)[: config.pairs + 1] for _ in range(config.histories)]
            half.append(_encode_histories(prefdisc, pairs, features, np.stack(drawn), rng))
    return tuple(_concatenate(half) for half in rows)


def _encode_images(prefdisc: PrefDisc, pairs: Sequence[PreferencePair]) -> Tensor:
    """Return image features (pairs, 2, latents, D); the liked image comes first."""
    images = [image.to(prefdisc.device) for pair in pairs for image in (pair.liked, pair.disliked)]
    same_size = all(image.shape == images[0].shape for image in images)
    batches = torch.stack(images).split(BATCH_SIZE) if same_size else [image[None] for image in images]
    return torch.cat([prefdisc.features(batch) for batch in batches]).unflatten(0, (len(pairs), 2))


def _encode_histories(
    prefdisc: PrefDisc, pairs: Sequence[PreferencePair], features: Tensor, drawn: np.ndarray, rng: np.random.Generator
) -> tuple[Tensor, Tensor, np.ndarray]:
    """Encode n histories with their targets.

    Args:
        prefdisc: The frozen model.
        pairs: Pairs of the user.
        features: Image features of the pairs.
        drawn: Pair indices (n, pairs + 1). The last column is the target.
        rng: Random generator.

    Returns:
        History states (n, L + 1, D), target states (n, 2, L + 1, D), and liked (n, 2).
    """
    states, targets, liked = [], [], []
    for rows in drawn:
        prompts = [pairs[row].prompt for row in rows]
        packed = pack(prefdisc.template, [prompts[:-1]], [[Target(len(rows) - 1, prompts[-1])]]).to(prefdisc.device)
        images = features[torch.from_numpy(rows)].clone()
        # The order of the two targets is random, so that it carries no information.
        order = rng.permutation(2)
        images[-1] = images[-1, torch.from_numpy(order)]
        layers = torch.stack(prefdisc(packed, images.flatten(0, 1)[None], every_layer=True).layers)[:, 0]
        reads = packed.prediction_positions[0, 0]
        # The last history token precedes the first target turn.
        last = int(reads[0]) - len(prefdisc.template.unlabelled_turn(prompts[-1]))
        states.append(layers[:, last].half().cpu())
        targets.append(layers[:, reads].transpose(0, 1).half().cpu())
        liked.append(order == 0)
    return torch.stack(states), torch.stack(targets), np.stack(liked)


def _concatenate(half: list[tuple[Tensor, Tensor, np.ndarray]]) -> ProbeStates:
    states, targets, liked = zip(*half, strict=True)
    user = np.repeat(np.arange(len(half)), len(states[0]))
    return ProbeStates(
        torch.cat(states), user, torch.cat(targets).flatten(0, 1), np.concatenate(liked).reshape(-1), np.repeat(user, 2)
    )
