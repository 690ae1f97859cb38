"""Splits the combinations of attributes into training, validation and test.

No training of PrefDisc sees a poster with a validation or test combination.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from .attributes import ATTRIBUTES

SPLITS = ("train", "validation", "test")
_SHARES = (0.8, 0.9)  # ends of train and validation
_SEED = 20261120  # must not change; otherwise test combinations would move into training
_SIZES = tuple(len(values) for values in ATTRIBUTES.values())


@lru_cache
def combinations(split: str) -> np.ndarray:
    """Return the attribute indices of a split's combinations by subject, (subjects, n, 6).

    Raises:
        ValueError: The split does not exist.
    """
    if split not in SPLITS:
        raise ValueError(f"split is {split!r}; expected one of {', '.join(SPLITS)}.")
    every = np.stack(np.unravel_index(np.arange(np.prod(_SIZES)), _SIZES), axis=-1).reshape(_SIZES[0], -1, len(_SIZES))
    mixed = np.random.default_rng(_SEED).permuted(np.arange(every.shape[1])[None].repeat(len(every), 0), axis=1)
    first, last = (round(share * every.shape[1]) for share in _SHARES)
    part = np.split(mixed, [first, last], axis=1)[SPLITS.index(split)]
    return np.take_along_axis(every, part[..., None], axis=1)


def draw_combinations(count: int, split: str, rng: np.random.Generator) -> np.ndarray:
    """Sample attribute indices (count, 6) from a split. Row i has subject i % 12, so subjects are equally frequent."""
    known = combinations(split)
    subject = np.arange(count) % len(known)
    return known[subject, rng.integers(known.shape[1], size=count)]
