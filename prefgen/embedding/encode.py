"""Encodes a history into a user embedding: `sem` and `core` by PrefDisc, `img` by a CLIP image encoder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..errors import EmbeddingError
from ..history import History
from .user import UserEmbedding, image_fingerprint

if TYPE_CHECKING:
    from ..checkpoint.preference_model import PreferenceModel

ImageEncoder = Callable[[Tensor], Tensor]
"""Images (B, 3, H, W) in [0, 1] -> CLIP embeddings (B, D_img)."""


def encode_user(model: PreferenceModel, history: History, image_encoder: ImageEncoder | None = None) -> UserEmbedding:
    """Encode a history into a user embedding (docs/paper-index.md, section 3), in float32 on the CPU.

    `sem` and `core` are PrefDisc's states at the last token of the history, averaged over the checkpoint's sem and core
    layers. The prefix that scoring uses contains them, so a history that was scored costs no forward. `img` and
    `disliked_img` are the mean CLIP embeddings of the liked and the disliked images.

    A history without pairs gives `img` alone, as does a model without PrefDisc. A model with a taste head weights the
    images by it. If nothing is liked, the embedding is empty.

    Args:
        image_encoder: Replaces the checkpoint's image encoder. If there is neither, `img` is left out.

    Raises:
        CheckpointError: The checkpoint has no PrefDisc.
        EmbeddingError: Only images can be encoded, and there is no image encoder.
        HistoryError: See `PreferenceModel.encode_history`.
    """
    image_encoder = image_encoder or model.image_tower
    if (weighted := model.weighted_images(history, image_encoder)) is not None:
        return embed_images(history.name, model.name, **(weighted if "img" in weighted else {}))
    uses_prefdisc = history.has_pairs and not model.encodes_images_only
    if history.liked_images and not uses_prefdisc and image_encoder is None:
        advice = "Connect a CLIP_VISION" + ("" if model.encodes_images_only else ", or dislike an image")
        raise EmbeddingError(f"{model.name} has no CLIP image encoder for the images of {history.name!r}. {advice}.")
    if history.liked_images and not model.encodes_images_only:
        model.require("prefdisc")
    parts: dict[str, Tensor] = {}
    # Image encoders of ComfyUI run in inference mode, but adapters need normal tensors.
    with torch.inference_mode(False), torch.no_grad():
        if uses_prefdisc:
            hidden = model.encode_history(history).hidden.float().cpu()
            parts["sem"] = hidden[list(model.spec.sem_layers)].mean(0)
            parts["core"] = hidden[list(model.spec.core_layers)].mean(0)
        if image_encoder is not None:
            pool = _mean if model.encodes_images_only else _mean_direction
            for part, images in (("img", history.liked_images), ("disliked_img", history.disliked_images)):
                if images:
                    parts[part] = pool(_encode(image_encoder, images)).clone()
    return UserEmbedding(
        *(parts.get(part) for part in ("sem", "core", "img")),
        fingerprint=model.encoder_fingerprint,
        name=history.name,
        disliked_img=parts.get("disliked_img"),
        made_by=model.name,
    )


def embed_images(
    user: str, made_by: str, img: Tensor | None = None, disliked_img: Tensor | None = None
) -> UserEmbedding:
    """Return the embedding of a user of whom only image embeddings (D,) are known."""
    width = len(img) if img is not None else 0
    return UserEmbedding(None, None, img, image_fingerprint(width), user, disliked_img, made_by)


def _encode(image_encoder: ImageEncoder, images: Sequence[Tensor]) -> Tensor:
    same_size = all(image.shape == images[0].shape for image in images)
    batches = [torch.stack(list(images))] if same_size else [image[None] for image in images]
    return torch.cat([image_encoder(batch) for batch in batches]).float().cpu()


def _mean(embeddings: Tensor) -> Tensor:
    """Return the mean of embeddings that are not normalised, as in IP-Adapter's training."""
    return embeddings.mean(0)


def _mean_direction(embeddings: Tensor) -> Tensor:
    """Return the mean of the normalised embeddings: all images count equally, and its length shows their agreement."""
    return torch.nn.functional.normalize(embeddings, dim=-1).mean(0)
