"""What an agent likes and dislikes most, and sets of agents whose profiles are far apart (001, its 30 agents)."""

from __future__ import annotations

import numpy as np

from train.data.agents import World, by_attribute
from train.data.posters import ATTRIBUTES, TASTE
from train.data.user_sets import SetError

# Liked and disliked values of a profile. 001 does not say how many its agents have; with 3 of 24 values on either side
# a crowd of 30 whose distances are 0.8 is found among agents of eight groups; with 4 there are about 12 such agents.
LENGTH = 3
_CHUNK, _CHUNKS = 5_000, 100  # candidates drawn at once, and how often


def profiles(utilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The taste values each agent likes most, and those it dislikes most: utilities (n, 24) -> indices (n, 3) each.

    Values are compared by what they add beside the mean of their own attribute.
    """
    centred = np.concatenate([v - v.mean(-1, keepdims=True) for v in by_attribute(utilities).values()], axis=-1)
    order = centred.argsort(-1)
    return order[..., ::-1][..., :LENGTH], order[..., :LENGTH]


def value_names(indices: np.ndarray) -> list[str]:
    """Taste values by name, "palette: neon"."""
    names = [f"{name}: {value}" for name in TASTE for value in ATTRIBUTES[name]]
    return [names[i] for i in indices]


def jaccard_distance(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """1 - |A and B| / |A or B| between sets as boolean rows: (n, d) and (m, d) -> (n, m)."""
    both = first.astype(np.float32) @ second.astype(np.float32).T
    either = first.sum(-1)[:, None] + second.sum(-1)[None] - both
    return 1 - both / np.maximum(either, 1)


def profile_rows(utilities: np.ndarray) -> np.ndarray:
    """Profiles as boolean rows, (n, 48): the values liked, then the values disliked."""
    rows = np.zeros((2, *utilities.shape), bool)
    for side, indices in zip(rows, profiles(utilities), strict=True):
        np.put_along_axis(side, indices, True, axis=-1)
    return np.concatenate(rows, axis=-1)


def draw_apart(world: World, count: int, distance: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Agents of the world, taken as they come wherever their profile is at least `distance` from all taken before.

    Returns utilities (count, 24) and groups (count,). Raises SetError where half a million agents hold too few such.
    """
    utilities, groups = np.empty((0, world.scale.size)), np.empty(0, int)
    for _ in range(_CHUNKS):
        fresh, theirs = world.sample(_CHUNK, rng)
        rows = profile_rows(fresh)
        left = (jaccard_distance(rows, profile_rows(utilities)) >= distance - 1e-6).all(1)
        while left.any() and len(utilities) < count:
            taken = left.argmax()
            utilities, groups = np.append(utilities, fresh[[taken]], 0), np.append(groups, theirs[taken])
            left &= jaccard_distance(rows, rows[[taken]])[:, 0] >= distance - 1e-6
            left[taken] = False
        if len(utilities) == count:
            return utilities, groups
    raise SetError(
        f"{len(utilities)} agents with profiles {distance} apart were found among {_CHUNK * _CHUNKS:,}, expected "
        f"{count}: ask for fewer with --users, or for less distance with --jaccard."
    )
