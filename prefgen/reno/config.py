"""How the noise is optimised."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Literal, get_args

from ..errors import RewardError
from ..validation import format_value, matches_type

Optimiser = Literal["sgd", "adam"]


@dataclass(frozen=True)
class RenoConfig:
    """How the noise is optimised. The defaults are those published with ReNO, but for `iterations` (001's 30).

    Attributes:
        iterations: how often the generator runs; the first image is the unoptimised one, so one changes nothing.
        learning_rate: for Adam, whose steps have about this length in every coordinate, 0.01 to 0.1.
        momentum: of SGD, Nesterov's.
        max_grad_norm: each row's gradient is scaled down to this norm.
        regulariser: weight of the norm regulariser that keeps the noise as likely as a Gaussian's.
        optimiser: "sgd" as published, or "adam" (Kingma & Ba's betas and epsilon).
        patience: a row stays as it is once its best has not risen by more than `min_gain` in so many iterations, and
            all ends when every row has; 0 goes through all iterations (default ours; the paper has no early stop).
        loss_scale: gradients are computed of the reward times this and divided by it afterwards, so that those of a
            model in half precision do not vanish; a row whose gradient overflows takes a smaller one by itself.
        starts: so many noises are judged first, one an iteration and without gradient, and every row climbs from its
            best; 1 climbs from the given noise, as published, and `iterations` is best-of-N (default ours).
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
    starts: int = 1

    def __post_init__(self) -> None:
        for field in fields(self):
            kind, value = type(field.default), getattr(self, field.name)
            if not matches_type(value, kind):
                raise RewardError(
                    f"The {field.name} of the noise optimisation is {format_value(value)}, expected {_KINDS[kind]}."
                )
        if self.iterations < 1:
            raise RewardError(f"The noise cannot be optimised in {self.iterations} iterations: give at least 1.")
        if not 1 <= self.starts <= self.iterations:
            raise RewardError(
                f"{self.starts} noises cannot be tried in {self.iterations} iterations, of which each takes one: give "
                f"1 to {self.iterations} starts."
            )
        if self.optimiser not in get_args(Optimiser):
            raise RewardError(f"The optimiser is {self.optimiser!r}; expected one of {', '.join(get_args(Optimiser))}.")
        for name, value, right in (
            ("learning rate", self.learning_rate, 0 <= self.learning_rate < math.inf),
            ("momentum", self.momentum, 0 <= self.momentum < 1),
            ("gradient norm", self.max_grad_norm, self.max_grad_norm > 0),
            ("regulariser", self.regulariser, 0 <= self.regulariser < math.inf),
            ("patience", self.patience, self.patience >= 0),
            ("gain", self.min_gain, 0 <= self.min_gain < math.inf),
            ("loss scale", self.loss_scale, 1 <= self.loss_scale < math.inf),
        ):
            if not right:
                raise RewardError(f"The {name} of the noise optimisation is {value:g}, which it cannot be: {_ALLOWED}.")


_ALLOWED = (
    "give a momentum below 1, a gradient norm above 0, a loss scale of at least 1, and nothing negative or infinite"
)
_KINDS = {int: "a whole number", float: "a number", str: "text"}
