"""Settings of the noise optimisation and its rewards, which the sweep selects."""

from __future__ import annotations

import argparse
from dataclasses import asdict, dataclass, fields

from prefgen.errors import RewardError
from prefgen.reno import RenoConfig
from prefgen.rewards import PAPER_WEIGHTS, Objective, require_weights
from prefgen.validation import require_number

ITERATIONS = 30
"""Number of iterations in paper 001 (docs/paper-index.md)."""
JSON_NAMES = {"objective": "by", "num_initial_noises": "starts"}
"""Names of fields in JSON and in cache keys, where they differ."""


@dataclass(frozen=True)
class Settings:
    """Settings of the noise optimisation. Defaults are the paper's, or chosen by the sweep for the pocket models.

    Attributes:
        learning_rate: See `RenoConfig`.
        regulariser: See `RenoConfig`.
        preference: Weight of the preference.
        clip: Weight of the pocket CLIP's cosine with the prompt, which replaces all published rewards.
        objective: The preference score, or its logit margin.
        views: Number of augmented views that the reward averages over, or 0 for the picture itself.
        num_initial_noises: Number of initial noises to compare. Each takes one iteration.
    """

    learning_rate: float = RenoConfig.learning_rate
    regulariser: float = RenoConfig.regulariser
    preference: float = PAPER_WEIGHTS["preference"]
    clip: float = 2.0
    objective: Objective = "margin"
    views: int = 4
    num_initial_noises: int = 15

    def __post_init__(self) -> None:
        require_weights([self.preference, self.clip])
        require_number("views", self.views, 0, integer=True, error=RewardError)

    def config(self, iterations: int) -> RenoConfig:
        """Return the configuration of the optimisation.

        Raises:
            RewardError: A value is out of range.
        """
        noises = self.num_initial_noises
        return RenoConfig(iterations, self.learning_rate, regulariser=self.regulariser, num_initial_noises=noises)

    def to_json(self) -> dict:
        """Return the settings as JSON values."""
        return {JSON_NAMES.get(name, name): value for name, value in asdict(self).items()}

    def text(self) -> str:
        """Return a description for a sentence or a table."""
        return (
            f"best of {self.num_initial_noises} initial noises, learning rate {self.learning_rate:g}, "
            f"{self.objective}, CLIP {self.clip:g}, {self.views} views, regulariser {self.regulariser:g}"
        )


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the settings."""
    default = Settings()
    parser.add_argument("--learning-rate", type=float, default=default.learning_rate, help="learning rate of SGD")
    parser.add_argument("--regulariser", type=float, default=default.regulariser, help="weight of the norm regulariser")
    parser.add_argument("--preference", type=float, default=default.preference, help="weight of the preference")
    parser.add_argument("--clip", type=float, default=default.clip, help="weight of the pocket CLIP's cosine")
    parser.add_argument("--by", choices=("score", "margin"), default=default.objective, help="preference objective")
    parser.add_argument("--views", type=int, default=default.views, help="augmented views; 0 uses the picture itself")
    parser.add_argument("--starts", type=int, default=default.num_initial_noises, help="initial noises to compare")


def parse_settings(arguments: argparse.Namespace) -> Settings:
    """Return the settings of the command line."""
    return Settings(
        **{field.name: getattr(arguments, JSON_NAMES.get(field.name, field.name)) for field in fields(Settings)}
    )
