"""ReNO: gradient ascent on a reward of the generated image, with respect to the initial noise (arXiv 2406.04312)."""

from .config import Optimiser, RenoConfig
from .optimize import clip_row_norms, norm_regulariser, optimize_noise, row_norms
from .result import RenoResult, RenoStep

__all__ = [
    "Optimiser",
    "RenoConfig",
    "RenoResult",
    "RenoStep",
    "clip_row_norms",
    "norm_regulariser",
    "optimize_noise",
    "row_norms",
]
