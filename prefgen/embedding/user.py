"""Defines the user embedding, and which preference models can use it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..errors import EmbeddingError

if TYPE_CHECKING:
    from ..checkpoint.preference_model import PreferenceModel

PARTS = ("sem", "core", "img", "disliked_img")

MAX_ABS = 1e6
"""Maximum absolute value of an embedding. The limit is our choice.

Hidden states of language models reach tens of thousands, CLIP embeddings reach tens. Larger values indicate damage and
would overflow in an intact adapter."""


def image_fingerprint(width: int) -> str:
    """Return the fingerprint of embeddings that consist of CLIP image embeddings (width,) alone."""
    return f"CLIP image embeddings {width} wide"


@dataclass(frozen=True, eq=False)
class UserEmbedding:
    """A user, as input of the generator.

    Attributes:
        sem, core: (D,), or None.
        img: (D_img,) of the liked images, or None. All parts are None for a user who has not liked anything.
        fingerprint: Fingerprint of what encoded the history (``PreferenceModel.encoder_fingerprint``), not of the whole
            checkpoint, so that an embedding stays valid when another adapter is trained.
        name: The user's name.
        disliked_img: (D_img,) of the disliked images, or None.
        made_by: File of the checkpoint, for messages.

    Raises:
        EmbeddingError: A part is not a vector of finite values up to MAX_ABS.
    """

    sem: Tensor | None
    core: Tensor | None
    img: Tensor | None
    fingerprint: str
    name: str = "user"
    disliked_img: Tensor | None = None
    made_by: str = ""

    def __post_init__(self) -> None:
        for part, value in self.vectors.items():
            largest = value.abs().max() if value.numel() else 0
            if value.ndim != 1 or not torch.isfinite(value).all() or largest > MAX_ABS:
                content = f"shape {tuple(value.shape)} and values up to {largest:g}"
                raise EmbeddingError(f"{part} of {self.name!r} has {content}; expected a finite vector.")

    @property
    def vectors(self) -> dict[str, Tensor]:
        """Parts that are not None, by name."""
        parts = {part: getattr(self, part) for part in PARTS}
        return {part: value for part, value in parts.items() if value is not None}

    def require_from(self, model: PreferenceModel) -> None:
        """Raise EmbeddingError unless `model` encodes histories as the checkpoint that made this embedding."""
        expected = model.encoder_fingerprint
        if self.fingerprint != expected:
            origin = f"{self.made_by or 'unknown file'} (fingerprint {self.fingerprint[:12]})"
            encoder = f"another preference checkpoint, {origin}"
            raise EmbeddingError(f"{self.name!r} was encoded by {encoder}; expected {model.name}. Encode it again.")
