"""From scores of a set's images to what was right. Ties count as what guessing among them would be."""

from __future__ import annotations

import numpy as np


def hits(scores: np.ndarray, chosen: np.ndarray, k: int) -> np.ndarray:
    """Whether the chosen image is among the k best: scores (..., c), chosen (...) -> (...), in [0, 1]."""
    own = np.take_along_axis(scores, chosen[..., None], axis=-1)
    better, equal = (scores > own).sum(-1), (scores == own).sum(-1)
    return np.clip((k - better) / equal, 0, 1)


def right(scores: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Whether the chosen image scores best (of a pair: pairwise accuracy)."""
    return hits(scores, chosen, 1)
