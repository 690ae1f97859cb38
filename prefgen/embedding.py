"""The user embedding: what PrefDisc and a CLIP image tower read out of a history, in three parts.

METHOD.md section 3. `sem` and `core` are the states of the last history token, averaged over a checkpoint's sem and
core layers; `img` is the mean CLIP embedding of the liked images.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .errors import EmbeddingError
from .history import UserHistory

if TYPE_CHECKING:
    from .preference import PreferenceModel

PARTS = ("sem", "core", "img", "disliked_img")


@dataclass(frozen=True, eq=False)
class UserEmbedding:
    """One user for the generator. sem, core: (D,). img, disliked_img: (D_img,). A part may be None.

    fingerprint: of the checkpoint that made it; no other can read it. name: the user's.
    """

    sem: Tensor | None
    core: Tensor | None
    img: Tensor | None
    fingerprint: str
    name: str = "user"
    disliked_img: Tensor | None = None

    def __post_init__(self) -> None:
        for part in PARTS:
            value = getattr(self, part)
            if value is not None and (value.ndim != 1 or not torch.isfinite(value).all()):
                raise EmbeddingError(
                    f"The {part} part of {self.name!r} has shape {tuple(value.shape)} or holds NaN, expected a finite "
                    "vector: encode the history again."
                )

    def require_from(self, model: PreferenceModel) -> None:
        """Raise EmbeddingError unless `model` is the checkpoint that made this embedding."""
        if self.fingerprint != model.fingerprint:
            raise EmbeddingError(
                f"The embedding of {self.name!r} was made by another preference checkpoint (fingerprint "
                f"{self.fingerprint[:12]}, expected {model.fingerprint[:12]} of {model.name}): "
                "encode the history again with this checkpoint."
            )


def extract(
    model: PreferenceModel, history: UserHistory, embed_images: Callable[[Tensor], Tensor] | None = None
) -> UserEmbedding:
    """Read a history into a user embedding, in ordinary float32 tensors on the CPU.

    embed_images: images (B, 3, H, W) in [0, 1] -> CLIP embeddings (B, D_img); None takes the checkpoint's own tower,
    and leaves `img` out where it has none. Raises CheckpointError where the checkpoint has no PrefDisc.
    """
    prefdisc = model.require("prefdisc")
    with torch.inference_mode(False), torch.no_grad():
        hidden = model.read(history).hidden.float().cpu()
        embed = embed_images or model.image_tower
        liked = disliked = None
        if embed is not None:
            liked = _mean_image(embed, [pair.liked for pair in history.pairs])
            disliked = _mean_image(embed, [pair.disliked for pair in history.pairs])
        return UserEmbedding(
            sem=hidden[list(prefdisc.spec.sem_layers)].mean(0),
            core=hidden[list(prefdisc.spec.core_layers)].mean(0),
            img=liked,
            fingerprint=model.fingerprint,
            name=history.name,
            disliked_img=disliked,
        )


def _mean_image(embed: Callable[[Tensor], Tensor], images: list[Tensor]) -> Tensor:
    """The mean of the L2-normalised embeddings: every image counts the same, and agreement shows in its length."""
    same_size = all(image.shape == images[0].shape for image in images)
    batches = [torch.stack(images)] if same_size else [image[None] for image in images]
    embedded = torch.cat([embed(batch) for batch in batches]).float().cpu()
    # A clone: an embedder of ComfyUI's runs in inference mode, and adapters are computed outside of it.
    return torch.nn.functional.normalize(embedded, dim=-1).mean(0).clone()
