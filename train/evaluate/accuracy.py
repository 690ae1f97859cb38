"""Top-k accuracy of scores against users' choices. Ties count as a random guess among the tied images."""

from __future__ import annotations

import numpy as np


def top_k_hits(scores: np.ndarray, chosen: np.ndarray, k: int) -> np.ndarray:
    """Return the probability that the chosen image is among the k best: scores (..., c), chosen (...) -> (...)."""
    chosen_score = np.take_along_axis(scores, chosen[..., None], axis=-1)
    better, equal = (scores > chosen_score).sum(-1), (scores == chosen_score).sum(-1)
    return np.clip((k - better) / equal, 0, 1)


def correct_choices(scores: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Return whether the chosen image has the highest score (for pairs: pairwise accuracy)."""
    return top_k_hits(scores, chosen, 1)
