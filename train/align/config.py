"""Settings of an alignment training."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from train.loop import LoopConfig


@dataclass(frozen=True)
class CollapseConfig:
    """Thresholds of the collapse detector (see collapse.py). The defaults are ours.

    Attributes:
        spread: Minimum spread of the mapped users, as a share of the spread of their texts.
        directions: Minimum effective number of dimensions, as a share of that of the texts.
        grace: Steps before the first check. A new MLP maps all users to nearly one point.
        every: Steps between two checks.
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
    """Settings of an alignment training. The defaults are ours where paper index section 3 gives none.

    Attributes:
        loop: Length and optimiser.
        part: Part of the user embedding to map. Mapping `core` is an open question of the paper.
        objective: "mmd", or "mse" or "cosine" for the ablation.
        kernel: Kernel of MMD.
        groups: Number of groups of similar users in a step.
        batch: Users of a group.
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
