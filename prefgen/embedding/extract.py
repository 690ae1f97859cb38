"""Reading a history into a user embedding: `sem` and `core` from PrefDisc's layers, `img` from a CLIP image tower."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..checkpoint.ip_adapter import ImageAdapterModel
from ..errors import EmbeddingError
from ..history import LikedImages, NothingLiked, UserHistory
from .user import UserEmbedding

if TYPE_CHECKING:
    from ..checkpoint.preference_model import PreferenceModel

Embed = Callable[[Tensor], Tensor]
"""Images (B, 3, H, W) in [0, 1] -> CLIP embeddings (B, D_img)."""


def extract(
    model: PreferenceModel, history: UserHistory | LikedImages | NothingLiked, embed_images: Embed | None = None
) -> UserEmbedding:
    """Read a history into a user embedding, in ordinary float32 tensors on the CPU.

    `sem` and `core` are the states of the last history token, averaged over the checkpoint's sem and core layers. They
    come from the prefix that scoring uses: a history that was scored with has been read, and costs no forward here.
    `img` is the mean CLIP embedding of the liked images, `disliked_img` of the disliked ones. A model out of an
    IP-Adapter file (see ip_adapter.py) has no PrefDisc: of it the image parts alone. Liked images without a disliked
    one give `img` alone, since PrefDisc reads pairs, and nothing liked gives no part at all.

    embed_images: the image tower; None takes the checkpoint's own, and leaves `img` out where it has none. Raises
    CheckpointError where the checkpoint has no PrefDisc, HistoryError as `PreferenceModel.read` does, EmbeddingError
    for an IP-Adapter, or liked images alone, without a tower.
    """
    if isinstance(history, NothingLiked):
        return UserEmbedding(None, None, None, model.reading, history.name, made_by=model.name)
    if isinstance(model, ImageAdapterModel):
        return _images_alone(model, history, embed_images, _mean)
    embed = embed_images or model.image_tower
    if isinstance(history, LikedImages) and embed is None:
        raise EmbeddingError(
            f"{history.name!r} has disliked no image yet, so that only what the liked ones look like can be told, and "
            f"{model.name} brings no CLIP image tower to look: connect a CLIP_VISION, or dislike an image."
        )
    prefdisc = model.require("prefdisc")
    if isinstance(history, LikedImages):
        return _images_alone(model, history, embed, _mean_direction)
    with torch.inference_mode(False), torch.no_grad():
        hidden = model.read(history).hidden.float().cpu()
        liked, disliked = (None, None) if embed is None else _both_sides(embed, history, _mean_direction)
        return UserEmbedding(
            sem=hidden[list(prefdisc.spec.sem_layers)].mean(0),
            core=hidden[list(prefdisc.spec.core_layers)].mean(0),
            img=liked,
            fingerprint=model.reading,
            name=history.name,
            disliked_img=disliked,
            made_by=model.name,
        )


def _images_alone(
    model: PreferenceModel | ImageAdapterModel,
    history: UserHistory | LikedImages,
    embed_images: Embed | None,
    pool: Callable[[Tensor], Tensor],
) -> UserEmbedding:
    """What the images look like, and nothing else."""
    if embed_images is None:
        raise EmbeddingError(
            f"{model.name} reads images through a CLIP image tower and brings none: connect a CLIP_VISION, the one it "
            "was trained with (for SDXL's vit-h files, CLIP ViT-H)."
        )
    with torch.inference_mode(False), torch.no_grad():
        liked, disliked = _both_sides(embed_images, history, pool)
        return UserEmbedding(None, None, liked, model.reading, history.name, disliked, model.name)


def _both_sides(
    embed: Embed, history: UserHistory | LikedImages, pool: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Tensor | None]:
    # Clones: an embedder of ComfyUI's runs in inference mode, and adapters are computed outside of it.
    if isinstance(history, LikedImages):
        return pool(_embedded(embed, list(history.liked))).clone(), None
    liked = _embedded(embed, [pair.liked for pair in history.pairs])
    disliked = _embedded(embed, [pair.disliked for pair in history.pairs])
    return pool(liked).clone(), pool(disliked).clone()


def _embedded(embed: Embed, images: list[Tensor]) -> Tensor:
    same_size = all(image.shape == images[0].shape for image in images)
    batches = [torch.stack(images)] if same_size else [image[None] for image in images]
    return torch.cat([embed(batch) for batch in batches]).float().cpu()


def _mean(embedded: Tensor) -> Tensor:
    """The mean of the embeddings as the tower gives them, at their own length: what IP-Adapter was trained on."""
    return embedded.mean(0)


def _mean_direction(embedded: Tensor) -> Tensor:
    """The mean of the L2-normalised embeddings: every image counts the same, and agreement shows in its length."""
    return torch.nn.functional.normalize(embedded, dim=-1).mean(0)
