"""The optimised noise as core's NOISE. It also works for latents with only some images of the batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from ...prefgen.errors import ModelError
from ..attention.picture_identity import Picture, remember_noise


@dataclass(frozen=True, eq=False)
class OptimizedNoise:
    """Optimised noise for latents of the same size.

    Attributes:
        noise: (B, C, h, w).
        pictures: Identity of the picture in each row.
    """

    noise: Tensor
    pictures: Sequence[Picture]

    @property
    def seed(self) -> int:
        """Seed of the initial noise."""
        return self.pictures[0].seed

    def generate_noise(self, input_latent: dict) -> Tensor:
        """Return the noise for the latent's images. Core's samplers call this.

        If the latent contains only some images of the batch, its `batch_index` identifies them.

        Raises:
            ModelError: The latent has a different size, or contains images that were not optimised.
        """
        shape, rows = input_latent["samples"].shape, list(range(len(self.noise)))
        row_by_index = {picture.index: row for row, picture in enumerate(self.pictures)}
        indices = input_latent.get("batch_index", ())
        if indices and row_by_index.keys() >= set(indices):
            rows = [row_by_index[index] for index in indices]
        if shape != (len(rows), *self.noise.shape[1:]):
            raise ModelError(
                f"The latent has shape {tuple(shape)}; expected {tuple(self.noise.shape)}, the shape of the optimised "
                "noise, or some of its images from LatentFromBatch. Connect the latent that is connected to ReNO "
                "Optimize."
            )
        noise = self.noise[rows]
        remember_noise(noise, [self.pictures[row] for row in rows])
        return noise
