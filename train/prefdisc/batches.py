"""Batches: trials decoded, packed, and laid out as the model takes them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from prefgen.images import read_image
from prefgen.prefdisc.packing import Target, pack
from prefgen.prefdisc.template import Turns
from train.prefdisc.features import FeatureTable
from train.prefdisc.trials import Trial


class Collator:
    """Trials -> a batch. size: images are resized to (size, size). table: features kept from before; None to decode."""

    def __init__(self, turns: Turns, size: int, table: FeatureTable | None = None) -> None:
        self.turns = turns
        self.size = size
        self.table = table

    def __call__(self, trials: Sequence[Trial]) -> dict[str, Any]:
        """`packed`; `counts`, how many images each sequence has; and `images` (N, 3, size, size) or `features` (N,
        latents, D) of all sequences, one after the other, each in its own order."""
        packed = pack(
            self.turns,
            [[pair.prompt for pair in trial.history] for trial in trials],
            [[Target(len(trial.history), trial.target.prompt)] for trial in trials],
        )
        counts = tuple(2 * len(trial.history) + 2 for trial in trials)
        files = [file for trial in trials for pair in (*trial.history, trial.target) for file in pair.images]
        if self.table is not None:
            return {"packed": packed, "counts": counts, "features": self.table.rows(files)}
        # A batch often shows an image twice (in two histories of one user).
        read = {file: read_square(file, self.size) for file in dict.fromkeys(files)}
        return {"packed": packed, "counts": counts, "images": torch.stack([read[file] for file in files])}


def read_square(file: Path, size: int) -> Tensor:
    """An image file -> (3, size, size) in [0, 1]. Raises ImageError for one that cannot be read."""
    image = read_image(file)
    if image.shape[-2:] == (size, size):
        return image
    return F.interpolate(image[None], size=(size, size), mode="bilinear", antialias=True, align_corners=False)[0]
