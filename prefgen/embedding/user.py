"""What a user embedding is, and which preference models may read it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..errors import EmbeddingError

if TYPE_CHECKING:
    from ..checkpoint.preference_model import PreferenceModel

PARTS = ("sem", "core", "img", "disliked_img")

LARGEST = 1e6
"""Of an embedding's numbers, either way (default ours). The largest states known of language models are some tens of
thousands, and those of CLIP tens; what is far beyond is damaged, and would overflow in an adapter that is whole."""


@dataclass(frozen=True, eq=False)
class UserEmbedding:
    """One user for the generator. sem, core: (D,). img, disliked_img: (D_img,). A part may be None; all of them are
    for somebody who has liked nothing yet.

    fingerprint: of what read the history (`PreferenceModel.reading`), not of the whole checkpoint: an embedding
    outlives the training of another adapter. name: the user's. made_by: the checkpoint's file, for messages. Raises
    EmbeddingError where a part is no vector of finite numbers up to LARGEST.
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
            fault = _fault(value)
            if fault is not None:
                raise EmbeddingError(
                    f"The {part} part of {self.name!r} {fault}: encode the history again, with a checkpoint that is "
                    "whole."
                )

    @property
    def vectors(self) -> dict[str, Tensor]:
        """The parts that are there, by name."""
        found = {part: getattr(self, part) for part in PARTS}
        return {part: value for part, value in found.items() if value is not None}

    def require_from(self, model: PreferenceModel) -> None:
        """Raise EmbeddingError unless `model` reads histories as the checkpoint did that made this embedding."""
        expected = model.reading
        if self.fingerprint != expected:
            raise EmbeddingError(
                f"The embedding of {self.name!r} was made by another preference checkpoint"
                f"{f', {self.made_by}' if self.made_by else ''} (fingerprint {self.fingerprint[:12]}, expected "
                f"{expected[:12]} of {model.name}): encode the history again with this checkpoint."
            )


def _fault(value: Tensor) -> str | None:
    """What of a part cannot be, and what was expected; None where all can."""
    if value.ndim != 1:
        return f"has shape {tuple(value.shape)}, expected a vector"
    if not torch.isfinite(value).all():
        return "holds NaN or infinity, expected finite numbers"
    if not (value.abs() <= LARGEST).all():
        return f"holds numbers up to {value.abs().max():g}, expected {LARGEST:g} at most"
    return None
