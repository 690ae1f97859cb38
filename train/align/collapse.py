"""Detects a collapsed alignment, which maps all users to nearly the same point or nearly onto one line.

With little data, pointwise losses can cause a collapse (paper index section 3): the loss keeps falling, but the
differences between users disappear. The dispersion of held-out users reveals the collapse.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from prefgen.errors import PrefGenError
from train.align.config import CollapseConfig
from train.align.metrics import dispersion


class AlignmentCollapse(PrefGenError):
    """The alignment maps all users to nearly the same point. Longer training does not help."""


class CollapseDetector:
    """Checks the dispersion of held-out users every few steps.

    Args:
        config: Thresholds and schedule.
        vectors: Embedding part of the held-out users, (N, D).
        texts: Text embeddings of the held-out users, (N, D_text).

    Attributes:
        collapse_step: The step at which a collapse was detected, or None.
        metrics: Dispersion at the last check.
    """

    def __init__(self, config: CollapseConfig, vectors: Tensor, texts: Tensor) -> None:
        self._config = config
        self._vectors, self._texts = vectors, texts
        self._failed_checks = 0
        self.collapse_step: int | None = None
        self.metrics: dict[str, float] = {}

    @torch.no_grad()
    def check(self, model: nn.Module, step: int) -> None:
        """Check the held-out users if a check is scheduled for this step.

        Raises:
            AlignmentCollapse: The alignment has collapsed, and `config.stop` is set.
        """
        config = self._config
        if step < config.grace or (step - config.grace) % config.every:
            return
        self.metrics = dispersion(model(self._vectors), self._texts)
        failed = self.metrics["spread"] < config.spread or self.metrics["directions"] < config.directions
        self._failed_checks = self._failed_checks + 1 if failed else 0
        if self._failed_checks < config.patience or self.collapse_step is not None:
            return
        self.collapse_step = step
        if config.stop:
            raise AlignmentCollapse(
                f"At step {step}, the mapped users have {self.metrics['spread']:.1%} of the spread and "
                f"{self.metrics['directions']:.1%} of the directions of their texts; expected at least "
                f"{config.spread:.0%} and {config.directions:.0%}. Use objective=mmd, more users, or "
                "collapse.stop=false."
            )
