"""What a training of the alignment is told."""

from __future__ import annotations

from dataclasses import dataclass, field

from train.loop import LoopConfig
from train.settings import one_of

OBJECTIVES = ("mmd", "mse", "cosine")
KERNELS = ("rbf", "imq")
PARTS = ("sem", "core")


@dataclass(frozen=True)
class CollapseConfig:
    """When mapped users count as collapsed (see collapse.py). Defaults ours.

    spread: the least share of the texts' spread that the mapped users' may have. directions: the least share of the
    texts' directions. grace: steps before the first look, since a fresh MLP maps everybody to one place anyway. every:
    steps between two looks. patience: looks in a row that must find a collapse. stop: end the training there; else it
    goes on, and the result says at which step it was found.
    """

    spread: float = 0.1
    directions: float = 0.1
    grace: int = 200
    every: int = 25
    patience: int = 3
    stop: bool = False


@dataclass(frozen=True)
class AlignConfig:
    """One training. Defaults ours where method.md section 3 gives none.

    part: which part of the user embedding is mapped; `core` is the paper's third open question. objective: "mmd", and
    "mse" or "cosine" for the ablation. kernel: of MMD. crowds: how many are compared at a step, of `batch` users each.
    held: the share of the users that is measured on and not trained on. hidden_dim, layers: of the MLP (the paper's 6).
    """

    loop: LoopConfig
    part: str = "sem"
    objective: str = "mmd"
    kernel: str = "rbf"
    crowds: int = 4
    batch: int = 96
    held: float = 1 / 6
    hidden_dim: int = 256
    layers: int = 6
    seed: int = 51
    collapse: CollapseConfig = field(default_factory=CollapseConfig)

    def __post_init__(self) -> None:
        one_of("part", self.part, PARTS)
        one_of("objective", self.objective, OBJECTIVES)
        one_of("kernel", self.kernel, KERNELS)
