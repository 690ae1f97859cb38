"""Profiles of agents (most liked and disliked values), and samples of agents with distant profiles (001: 30 agents)."""

from __future__ import annotations

import numpy as np

from train.data.agents import World, by_attribute
from train.data.posters import ATTRIBUTES, TASTE
from train.data.user_sets import SetError

# Number of liked and of disliked values in a profile. 001 does not give it. With 3 of 24 values, 30 agents with
# distances of 0.8 exist among agents of eight groups; with 4 there are only about 12.
LENGTH = 3
_CHUNK, _CHUNKS = 5_000, 100  # candidates per round, and maximum number of rounds


def profiles(utilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices (n, 3) of the most liked and of the most disliked values for utilities (n, 24).

    Values are compared after subtracting the mean of their attribute.
    """
    centred = np.concatenate([v - v.mean(-1, keepdims=True) for v in by_attribute(utilities).values()], axis=-1)
    order = centred.argsort(-1)
    return order[..., ::-1][..., :LENGTH], order[..., :LENGTH]


def value_names(indices: np.ndarray) -> list[str]:
    """Return the names of taste values, such as "palette: neon"."""
    names = [f"{name}: {value}" for name in TASTE for value in ATTRIBUTES[name]]
    return [names[i] for i in indices]


def jaccard_distance(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return Jaccard distances (n, m) between sets given as boolean rows (n, d) and (m, d)."""
    both = first.astype(np.float32) @ second.astype(np.float32).T
    either = first.sum(-1)[:, None] + second.sum(-1)[None] - both
    return 1 - both / np.maximum(either, 1)


def profile_rows(utilities: np.ndarray) -> np.ndarray:
    """Return profiles as boolean rows (n, 48): liked values, then disliked values."""
    rows = np.zeros((2, *utilities.shape), bool)
    for side, indices in zip(rows, profiles(utilities), strict=True):
        np.put_along_axis(side, indices, True, axis=-1)
    return np.concatenate(rows, axis=-1)


def draw_apart(world: World, count: int, distance: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Sample agents in order, and keep each one whose profile is at least `distance` from all earlier ones.

    Returns:
        Utilities (count, 24) and groups (count,).

    Raises:
        SetError: Half a million candidates contain too few such agents.
    """
    utilities, groups = np.empty((0, world.scale.size)), np.empty(0, int)
    for _ in range(_CHUNKS):
        fresh, theirs = world.sample(_CHUNK, rng)
        rows = profile_rows(fresh)
        candidates = (jaccard_distance(rows, profile_rows(utilities)) >= distance - 1e-6).all(1)
        while candidates.any() and len(utilities) < count:
            chosen = candidates.argmax()
            utilities, groups = np.append(utilities, fresh[[chosen]], 0), np.append(groups, theirs[chosen])
            candidates &= jaccard_distance(rows, rows[[chosen]])[:, 0] >= distance - 1e-6
            candidates[chosen] = False
        if len(utilities) == count:
            return utilities, groups
    raise SetError(
        f"{len(utilities)} agents with profiles {distance} apart were found among {_CHUNK * _CHUNKS:,}; expected "
        f"{count}. Use a smaller --users or --jaccard."
    )
