"""Early notice of a collapse: everybody mapped to nearly one place, or along nearly one line.

It is how point-wise losses fail on little data (method.md section 3): the loss still falls
while what tells users apart is lost. So it is looked for where it shows: in how far apart users stay whom the training
does not see.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from prefgen.errors import PrefGenError
from train.align.config import CollapseConfig
from train.align.measure import apartness


class AlignmentCollapse(PrefGenError):
    """The alignment maps everybody to nearly one place; training it longer does not help."""


class CollapseWatch:
    """Looks at held-out users every few steps.

    vectors (N, D), texts (N, D_text): users that are not trained on. `found` is the step at which a collapse was
    found, or None; `last` is what the last look saw.
    """

    def __init__(self, config: CollapseConfig, vectors: Tensor, texts: Tensor) -> None:
        self._config = config
        self._vectors, self._texts = vectors, texts
        self._in_a_row = 0
        self.found: int | None = None
        self.last: dict[str, float] = {}

    @torch.no_grad()
    def look(self, model: nn.Module, step: int) -> None:
        """Look at what `model` makes of the held-out users, where `step` is due.

        Raises AlignmentCollapse at a collapse, where the configuration says to stop.
        """
        config = self._config
        if step < config.grace or (step - config.grace) % config.every:
            return
        self.last = apartness(model(self._vectors), self._texts)
        bad = self.last["spread"] < config.spread or self.last["directions"] < config.directions
        self._in_a_row = self._in_a_row + 1 if bad else 0
        if self._in_a_row < config.patience or self.found is not None:
            return
        self.found = step
        if config.stop:
            raise AlignmentCollapse(
                f"At step {step} mapped users keep {self.last['spread']:.1%} of their texts' spread and "
                f"{self.last['directions']:.1%} of its directions, expected {config.spread:.0%} and "
                f"{config.directions:.0%} at least: train by MMD, with more users, or turn collapse.stop off."
            )
