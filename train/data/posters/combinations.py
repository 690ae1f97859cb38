"""Which combinations of attributes are trained on, chosen on and tested on.

No poster of a validation or test combination is in any training of PrefDisc: what is measured is not remembered.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from .attributes import ATTRIBUTES

SPLITS = ("train", "validation", "test")
_SHARES = (0.8, 0.9)  # where train ends, and where validation ends
_SEED = 20261120  # fixed: with another, yesterday's test combinations would be in tomorrow's training
_SIZES = tuple(len(values) for values in ATTRIBUTES.values())


@lru_cache
def combinations(split: str) -> np.ndarray:
    """The combinations of one split, by subject: (subjects, n, 6) attribute indices. Raises ValueError for no split."""
    if split not in SPLITS:
        raise ValueError(f"there is no split {split!r} of the combinations; there are {', '.join(SPLITS)}")
    every = np.stack(np.unravel_index(np.arange(np.prod(_SIZES)), _SIZES), axis=-1).reshape(_SIZES[0], -1, len(_SIZES))
    mixed = np.random.default_rng(_SEED).permuted(np.arange(every.shape[1])[None].repeat(len(every), 0), axis=1)
    first, last = (round(share * every.shape[1]) for share in _SHARES)
    part = np.split(mixed, [first, last], axis=1)[SPLITS.index(split)]
    return np.take_along_axis(every, part[..., None], axis=1)


def draw_combinations(count: int, split: str, rng: np.random.Generator) -> np.ndarray:
    """Attribute indices (count, 6) out of one split, with subject i % 12 in row i: as many of every subject."""
    known = combinations(split)
    subject = np.arange(count) % len(known)
    return known[subject, rng.integers(known.shape[1], size=count)]
