"""ReNO: the initial noise of a generator, optimised by gradient ascent on a reward of its image (method.md 4)."""

from .config import Optimiser, RenoConfig
from .optimize import clip_rows, norm_regulariser, optimise, row_norms
from .result import RenoResult, RenoStep

__all__ = [
    "Optimiser",
    "RenoConfig",
    "RenoResult",
    "RenoStep",
    "clip_rows",
    "norm_regulariser",
    "optimise",
    "row_norms",
]
