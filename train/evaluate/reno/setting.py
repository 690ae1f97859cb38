"""How the noise is optimised, and by which sum of rewards: what the sweep chooses between."""

from __future__ import annotations

import argparse
from dataclasses import asdict, dataclass, fields

from prefgen.errors import RewardError
from prefgen.reno import RenoConfig
from prefgen.rewards import PAPER_WEIGHTS, Objective, require_weights
from prefgen.validation import require_number

ITERATIONS = 30
"""method.md section 4 (001's 30 steps)."""


@dataclass(frozen=True)
class Setting:
    """learning_rate, regulariser: see `RenoConfig`. preference, clip: the rewards' weights, the pocket CLIP's cosine
    with the prompt being all of the general rewards. by: the preference's score or its logit margin. views: of each
    image, over which all of it is averaged; 0 takes the image itself. starts: noises to start from the best of, each of
    which takes an iteration. Defaults: the published ones, but for those that the sweep chose for the pocket models."""

    learning_rate: float = RenoConfig.learning_rate
    regulariser: float = RenoConfig.regulariser
    preference: float = PAPER_WEIGHTS["preference"]
    clip: float = 2.0
    by: Objective = "margin"
    views: int = 4
    starts: int = 15

    def __post_init__(self) -> None:
        require_weights([self.preference, self.clip])
        require_number("views", self.views, 0, integer=True, error=RewardError)

    def config(self, iterations: int) -> RenoConfig:
        """The optimiser's. Raises RewardError for numbers that cannot be."""
        return RenoConfig(iterations, self.learning_rate, regulariser=self.regulariser, num_initial_noises=self.starts)

    def told(self) -> dict:
        """As JSON values."""
        return asdict(self)

    def text(self) -> str:
        """For a sentence or a table."""
        return (
            f"from the best of {self.starts}, learning rate {self.learning_rate:g}, {self.by}, CLIP {self.clip:g}, "
            f"{self.views} views, regulariser {self.regulariser:g}"
        )


def add_options(parser: argparse.ArgumentParser) -> None:
    """One setting, on the command line."""
    default = Setting()
    parser.add_argument("--learning-rate", type=float, default=default.learning_rate, help="of SGD on the noise")
    parser.add_argument("--regulariser", type=float, default=default.regulariser, help="weight of the noise's norm")
    parser.add_argument("--preference", type=float, default=default.preference, help="weight of the preference")
    parser.add_argument("--clip", type=float, default=default.clip, help="weight of the pocket CLIP's cosine")
    parser.add_argument("--by", choices=("score", "margin"), default=default.by, help="how the preference is read")
    parser.add_argument("--views", type=int, default=default.views, help="of every image; 0: the image itself")
    parser.add_argument("--starts", type=int, default=default.starts, help="noises to start from the best of")


def setting_of(given: argparse.Namespace) -> Setting:
    """What was asked for."""
    return Setting(**{field.name: getattr(given, field.name) for field in fields(Setting)})
