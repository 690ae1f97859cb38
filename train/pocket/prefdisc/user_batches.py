"""Batches of fresh users: their pairs out of the poster table, packed, with what the simulator knows of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch import Tensor

from prefgen.prefdisc.packing import Packed, Target, pack
from prefgen.prefdisc.template import Turns
from train.data.agents import World, by_attribute, utility_of
from train.data.posters import ATTRIBUTES, TASTE
from train.pocket.prefdisc.vision_training import SUBJECTS, PosterTable

PAIRS = 8
PROMPTS = tuple(ATTRIBUTES["subject"].values())
# Some prompts are missing or name what the pocket vocabulary does not know: neither may upset the reading.
UNUSUAL = ("", "something")


@dataclass(frozen=True)
class UserBatch:
    """One batch of B users with a history of n pairs (liked first) and T target pairs (in no order).

    features (B, 2 (n + T), latents, D). probability (B, T): of preferring each target's first image; chosen (B, T):
    whether it was. taste (B, 24): utilities, centred within each attribute and of unit deviation. evidence
    (B, n, groups): what each pair says of each group, less its mean.
    history (B, n, 2, 6), targets (B, T, 2, 6): attribute indices.
    """

    packed: Packed
    features: Tensor
    probability: Tensor
    chosen: Tensor
    taste: Tensor
    evidence: Tensor
    history: np.ndarray
    targets: np.ndarray

    def to(self, device: torch.device | str) -> UserBatch:
        """The same, its tensors on another device."""
        return replace(
            self,
            packed=self.packed.to(device),
            **{f.name: v.to(device) for f in fields(self) if isinstance(v := getattr(self, f.name), Tensor)},
        )


def sample_user_batch(
    turns: Turns,
    table: PosterTable,
    world: World,
    utilities: np.ndarray,
    after: list[int],
    rng: np.random.Generator,
    pairs: int = PAIRS,
    words: bool = True,
    reword: Callable[[str], str] | None = None,
) -> UserBatch:
    """For users of these utilities (B, 24) draw a history of `pairs`, and one target pair after each number in `after`;
    with prompts if `words`, and each of them as `reword` puts it."""
    count = len(utilities)
    subjects = rng.integers(SUBJECTS, size=(count, pairs + len(after)))
    copies = rng.integers(len(table.attributes) // SUBJECTS, size=(*subjects.shape, 2))
    rows = subjects[..., None] + SUBJECTS * copies
    gap = np.diff(utility_of(utilities[:, None, None], table.attributes[rows]), axis=-1)[..., 0] * -1
    chosen = world.choose(gap, rng)
    swap = ~chosen[:, :pairs]
    rows[:, :pairs][swap] = rows[:, :pairs][swap][:, ::-1]

    unusual = rng.random(subjects.shape) < 0.1
    prompts = np.where(unusual, rng.choice(UNUSUAL, subjects.shape), np.array(PROMPTS)[subjects])
    prompts = prompts if words else np.full_like(prompts, "")
    if reword:
        prompts = np.array([[reword(str(prompt)) for prompt in user] for user in prompts])
    histories = [list(map(str, user[:pairs])) for user in prompts]
    targets = [[Target(k, str(p)) for k, p in zip(after, user[pairs:], strict=True)] for user in prompts]
    views = rng.integers(table.features.shape[1], size=rows.shape)
    history = table.attributes[rows[:, :pairs]]
    return UserBatch(
        packed=pack(turns, histories, targets),
        features=table.features[torch.from_numpy(rows), torch.from_numpy(views)].flatten(1, 2),
        probability=torch.from_numpy(world.probability(gap[:, pairs:])).float(),
        chosen=torch.from_numpy(chosen[:, pairs:]),
        taste=torch.from_numpy(normalised_utilities(world, utilities)).float(),
        evidence=group_evidence(world, history),
        history=history,
        targets=table.attributes[rows[:, pairs:]],
    )


def normalised_utilities(world: World, utilities: np.ndarray) -> np.ndarray:
    """Utilities (n, 24) less each attribute's mean, which no choice can tell, over the deviation an agent's has."""
    parts = [part - part.mean(1, keepdims=True) for part in by_attribute(utilities).values()]
    spread = (world.general**2 + world.group**2 + world.individual**2) ** 0.5 * world.scale
    return np.concatenate(parts, axis=1) / spread


def one_hot_values(attributes: np.ndarray) -> Tensor:
    """The taste values of images: attribute indices (..., 6) -> (..., 24), ones and zeros."""
    hot = [np.eye(len(ATTRIBUTES[name]))[attributes[..., i]] for i, name in enumerate(ATTRIBUTES) if name in TASTE]
    return torch.from_numpy(np.concatenate(hot, axis=-1)).float()


def group_evidence(world: World, history: np.ndarray) -> Tensor:
    """What each pair of (B, n, 2, 6) says of each group, less its mean over the groups: (B, n, groups)."""
    values = one_hot_values(history).numpy()
    shown = values[:, :, 0] - values[:, :, 1]
    said = world.log_evidence(shown @ world.means.T, shown)
    return torch.from_numpy(said - said.mean(-1, keepdims=True)).float()
