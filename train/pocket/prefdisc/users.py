"""Batches of fresh users: their pairs out of the poster table, packed, with what the simulator knows of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from prefgen.prefdisc.packing import Packed, Target, pack
from prefgen.prefdisc.turns import Turns
from train.data.agents import World, utility_of
from train.data.posters import ATTRIBUTES, TASTE
from train.pocket.prefdisc.sight import SUBJECTS, PosterTable

PAIRS = 8
PROMPTS = tuple(ATTRIBUTES["subject"].values())
# Some prompts are missing or name what the pocket vocabulary does not know: neither may upset the reading.
UNUSUAL = ("", "something")


@dataclass(frozen=True)
class Users:
    """One batch of B users with a history of n pairs (liked first) and T target pairs (in no order).

    features (B, 2 (n + T), latents, D). probability (B, T): of preferring each target's first image; chosen (B, T):
    whether it was. taste (B, 24): utilities, centred within each attribute and of unit deviation.
    history (B, n, 2, 6), targets (B, T, 2, 6): attribute indices.
    """

    packed: Packed
    features: Tensor
    probability: Tensor
    chosen: Tensor
    taste: Tensor
    history: np.ndarray
    targets: np.ndarray


def draw_users(
    turns: Turns, table: PosterTable, world: World, count: int, after: list[int], rng: np.random.Generator
) -> Users:
    """Draw users, their history and one target pair after each number of pairs in `after`."""
    utilities, _ = world.sample(count, rng)
    subjects = rng.integers(SUBJECTS, size=(count, PAIRS + len(after)))
    copies = rng.integers(len(table.attributes) // SUBJECTS, size=(*subjects.shape, 2))
    rows = subjects[..., None] + SUBJECTS * copies
    gap = np.diff(utility_of(utilities[:, None, None], table.attributes[rows]), axis=-1)[..., 0] * -1
    chosen = world.choose(gap, rng)
    swap = ~chosen[:, :PAIRS]
    rows[:, :PAIRS][swap] = rows[:, :PAIRS][swap][:, ::-1]

    unusual = rng.random(subjects.shape) < 0.1
    prompts = np.where(unusual, rng.choice(UNUSUAL, subjects.shape), np.array(PROMPTS)[subjects])
    histories = [list(map(str, user[:PAIRS])) for user in prompts]
    targets = [[Target(k, str(p)) for k, p in zip(after, user[PAIRS:], strict=True)] for user in prompts]
    views = rng.integers(table.features.shape[1], size=rows.shape)
    return Users(
        packed=pack(turns, histories, targets),
        features=table.features[torch.from_numpy(rows), torch.from_numpy(views)].flatten(1, 2),
        probability=torch.from_numpy(world.probability(gap[:, PAIRS:])).float(),
        chosen=torch.from_numpy(chosen[:, PAIRS:]),
        taste=torch.from_numpy(centred(world, utilities)).float(),
        history=table.attributes[rows[:, :PAIRS]],
        targets=table.attributes[rows[:, PAIRS:]],
    )


def centred(world: World, utilities: np.ndarray) -> np.ndarray:
    """Utilities (n, 24) less each attribute's mean, which no choice can tell, over the deviation an agent's has."""
    parts, start = [], 0
    for name in TASTE:
        part = utilities[:, start : start + len(ATTRIBUTES[name])]
        parts.append(part - part.mean(1, keepdims=True))
        start += part.shape[1]
    spread = (world.general**2 + world.group**2 + world.individual**2) ** 0.5 * world.scale
    return np.concatenate(parts, axis=1) / spread


def signed_attributes(history: np.ndarray) -> Tensor:
    """What each label says of each image: (B, n, 2, 6) -> (B, n, 2, 24), +1 for a liked value, -1 for a disliked."""
    hot = [np.eye(len(ATTRIBUTES[name]))[history[..., i]] for i, name in enumerate(ATTRIBUTES) if name in TASTE]
    sign = np.array([1.0, -1.0])[:, None]
    return torch.from_numpy(np.concatenate(hot, axis=-1) * sign).float()
