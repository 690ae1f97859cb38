"""Settings of a noise optimisation."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from typing import Literal, get_args

from ..errors import RewardError
from ..validation import require_choice, require_number

Optimiser = Literal["sgd", "adam"]


@dataclass(frozen=True)
class RenoConfig:
    """Settings of a noise optimisation. The defaults come from ReNO (arXiv 2406.04312), with 30 iterations.

    Attributes:
        iterations: Number of generated images. The first image is that of the initial noise, so 1 optimises nothing.
        learning_rate: Learning rate. Adam needs 0.01 to 0.1, because its steps have about this size in each coordinate.
        momentum: Nesterov momentum of SGD.
        max_grad_norm: Maximum gradient norm. The gradient of each row is scaled down to it; `math.inf` disables this.
        regulariser: Weight of the norm regulariser, which keeps the norm of the noise near that of Gaussian noise.
        optimiser: "sgd" as in the paper, or "adam" with PyTorch's betas and epsilon.
        patience: A row stops when its best reward has not risen by more than `min_gain` for this many iterations. The
            optimisation ends when all rows have stopped. 0 disables early stopping (our addition).
        min_gain: Smallest rise of the best reward that counts as an improvement.
        loss_scale: Factor on the reward during the backward pass, so that small gradients do not underflow in half
            precision. Gradients are divided by it afterwards. A row whose gradient overflows lowers its own scale.
        num_initial_noises: Number of initial noises to compare. Each takes one iteration, without a gradient. Every row
            starts from its best noise. 1 starts from the given noise as in the paper; as many as `iterations` is
            best-of-N (our addition).

    Raises:
        RewardError: A value is out of range.
    """

    iterations: int = 30
    learning_rate: float = 5.0
    momentum: float = 0.9
    max_grad_norm: float = 0.1
    regulariser: float = 0.01
    optimiser: Optimiser = "sgd"
    patience: int = 0
    min_gain: float = 0.0
    loss_scale: float = 1.0
    num_initial_noises: int = 1

    def __post_init__(self) -> None:
        for name, bounds in _BOUNDS.items():
            require_number(name, getattr(self, name), **bounds, error=RewardError)
        if self.max_grad_norm != math.inf:
            require_number("max_grad_norm", self.max_grad_norm, sys.float_info.min, error=RewardError)
        bounds = {"low": 1, "high": self.iterations, "integer": True, "advice": "Each of them takes one iteration."}
        require_number("num_initial_noises", self.num_initial_noises, **bounds, error=RewardError)
        require_choice("optimiser", self.optimiser, get_args(Optimiser), RewardError)


_BOUNDS = {
    "iterations": {"low": 1, "integer": True},
    "learning_rate": {"low": 0},
    "momentum": {"low": 0, "below": 1},
    "regulariser": {"low": 0},
    "patience": {"low": 0, "integer": True},
    "min_gain": {"low": 0},
    "loss_scale": {"low": 1},
}
"""Bounds of each number, as arguments of `require_number`."""
