"""Samples batches of users: packed pairs from the poster table, with the hidden variables of each user."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch import Tensor

from prefgen.prefdisc.packing import PackedBatch, Target, pack
from prefgen.prefdisc.template import ChatTemplate
from train.data.agents import World, by_attribute, utility_of
from train.data.posters import ATTRIBUTES, TASTE
from train.pocket.prefdisc.vision_training import SUBJECTS, PosterTable

PAIRS = 8
PROMPTS = tuple(ATTRIBUTES["subject"].values())
# Some prompts are empty or contain unknown words, so that PrefDisc learns to handle both.
UNUSUAL = ("", "something")


@dataclass(frozen=True)
class UserBatch:
    """A batch of B users with a history of n pairs (liked first) and T unordered target pairs.

    Attributes:
        packed: Packed token sequences.
        features: Image features (B, 2 (n + T), latents, D).
        probability: Probability of preferring the first image of each target, (B, T).
        chosen: Whether the first image was preferred, (B, T).
        taste: Utilities (B, 24), centred within each attribute and scaled to a standard deviation of 1.
        evidence: Log evidence of each pair for each group, centred, (B, n, groups).
        history: Attribute indices of the history, (B, n, 2, 6).
        targets: Attribute indices of the targets, (B, T, 2, 6).
    """

    packed: PackedBatch
    features: Tensor
    probability: Tensor
    chosen: Tensor
    taste: Tensor
    evidence: Tensor
    history: np.ndarray
    targets: np.ndarray

    def to(self, device: torch.device | str) -> UserBatch:
        """Return a copy with its tensors on a device."""
        return replace(
            self,
            packed=self.packed.to(device),
            **{f.name: v.to(device) for f in fields(self) if isinstance(v := getattr(self, f.name), Tensor)},
        )


def sample_user_batch(
    template: ChatTemplate,
    table: PosterTable,
    world: World,
    utilities: np.ndarray,
    after: list[int],
    rng: np.random.Generator,
    pairs: int = PAIRS,
    words: bool = True,
    reword: Callable[[str], str] | None = None,
) -> UserBatch:
    """Sample histories and targets for users.

    Args:
        template: The chat template.
        table: Posters and their features.
        world: Population of the agents.
        utilities: Utilities of the users, (B, 24).
        after: For each target, the number of history pairs that it can attend to.
        rng: Random generator.
        pairs: Number of history pairs.
        words: Whether turns have prompts.
        reword: Function that rewords a prompt.
    """
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
        packed=pack(template, histories, targets),
        features=table.features[torch.from_numpy(rows), torch.from_numpy(views)].flatten(1, 2),
        probability=torch.from_numpy(world.probability(gap[:, pairs:])).float(),
        chosen=torch.from_numpy(chosen[:, pairs:]),
        taste=torch.from_numpy(normalised_utilities(world, utilities)).float(),
        evidence=group_evidence(world, history),
        history=history,
        targets=table.attributes[rows[:, pairs:]],
    )


def normalised_utilities(world: World, utilities: np.ndarray) -> np.ndarray:
    """Centre utilities (n, 24) within each attribute, and divide them by their standard deviation.

    Choices do not depend on the mean of an attribute.
    """
    parts = [part - part.mean(1, keepdims=True) for part in by_attribute(utilities).values()]
    spread = (world.general**2 + world.group**2 + world.individual**2) ** 0.5 * world.scale
    return np.concatenate(parts, axis=1) / spread


def one_hot_values(attributes: np.ndarray) -> Tensor:
    """Convert attribute indices (..., 6) to one-hot taste values (..., 24)."""
    hot = [np.eye(len(ATTRIBUTES[name]))[attributes[..., i]] for i, name in enumerate(ATTRIBUTES) if name in TASTE]
    return torch.from_numpy(np.concatenate(hot, axis=-1)).float()


def group_evidence(world: World, history: np.ndarray) -> Tensor:
    """Return the log evidence (B, n, groups) of pairs (B, n, 2, 6) for each group, centred over the groups."""
    values = one_hot_values(history).numpy()
    differences = values[:, :, 0] - values[:, :, 1]
    log_evidence = world.log_evidence(differences @ world.means.T, differences)
    return torch.from_numpy(log_evidence - log_evidence.mean(-1, keepdims=True)).float()
