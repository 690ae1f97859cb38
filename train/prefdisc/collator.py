"""Collates trials into packed batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from prefgen.prefdisc.packing import Target, pack
from prefgen.prefdisc.template import ChatTemplate
from train.prefdisc.feature_cache import FeatureCache
from train.prefdisc.images import read_square
from train.prefdisc.trials import Trial


class Collator:
    """Collates trials into a batch.

    Args:
        template: The chat template.
        size: Side length of the square images in pixels.
        cache: Cached image features. If None, batches contain the decoded images.
    """

    def __init__(self, template: ChatTemplate, size: int, cache: FeatureCache | None = None) -> None:
        self.template = template
        self.size = size
        self.cache = cache

    def __call__(self, trials: Sequence[Trial]) -> dict[str, Any]:
        """Return a batch.

        Returns:
            "packed": the packed token sequences. "counts": the number of images in each sequence. "images"
            (N, 3, size, size) or "features" (N, latents, D): the images of all sequences, in order.
        """
        packed = pack(
            self.template,
            [[pair.prompt for pair in trial.history] for trial in trials],
            [[Target(len(trial.history), trial.target.prompt)] for trial in trials],
            None if any(trial.swapped is None for trial in trials) else [trial.swapped for trial in trials],
        )
        counts = tuple(2 * len(trial.history) + 2 for trial in trials)
        files = [file for trial in trials for pair in (*trial.history, trial.target) for file in pair.images]
        if self.cache is not None:
            return {"packed": packed, "counts": counts, "features": self.cache.rows(files)}
        # The same image is often in several histories of a user, but is read only once.
        images = {file: read_square(file, self.size, self.template.spec) for file in dict.fromkeys(files)}
        return {"packed": packed, "counts": counts, "images": torch.stack([images[file] for file in files])}
