"""Settings for training the alignment."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from train.loop import LoopConfig


@dataclass(frozen=True)
class CollapseConfig:
    """Thresholds of the collapse detector (see collapse.py). The defaults are our choice.

    Attributes:
        spread: Minimum spread of the mapped users, as a share of the spread of their texts.
        directions: Minimum effective number of dimensions of the mapped users, as a share of the number for the texts.
        grace: Number of steps before the first check. An untrained MLP maps all users to nearly the same point.
        every: Number of steps between checks.
        patience: Number of consecutive failed checks that count as a collapse.
        stop: Whether to stop the training at a collapse. Otherwise only its step is reported.
    """

    spread: float = 0.1
    directions: float = 0.1
    grace: int = 200
    every: int = 25
    patience: int = 3
    stop: bool = False


@dataclass(frozen=True)
class AlignConfig:
    """Settings for training the alignment. Defaults that are not in paper index section 3 are our choice.

    Attributes:
        loop: Length and optimiser.
        part: Part of the user embedding to map. The paper leaves open whether `core` should be mapped.
        objective: "mmd"; for the ablation, also "mse" or "cosine".
        kernel: Kernel of MMD.
        groups: Number of groups of similar users in a step.
        batch: Maximum number of users in a group.
        validation_share: Share of the users that are held out for evaluation.
        hidden_dim: Width of the MLP.
        layers: Number of layers of the MLP (paper: 6).
        seed: Random seed.
        collapse: Collapse detector.
    """

    loop: LoopConfig
    part: Literal["sem", "core"] = "sem"
    objective: Literal["mmd", "mse", "cosine"] = "mmd"
    kernel: Literal["rbf", "imq"] = "rbf"
    groups: int = 4
    batch: int = 96
    validation_share: float = 1 / 6
    hidden_dim: int = 256
    layers: int = 6
    seed: int = 51
    collapse: CollapseConfig = field(default_factory=CollapseConfig)
