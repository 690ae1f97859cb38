"""EncodeUserHistory: what the adapter needs to know of a person."""

from __future__ import annotations

import logging
from collections.abc import Callable

import torch
from comfy.clip_vision import ClipVisionModel
from comfy_api.latest import io

from ..prefgen.checkpoint.preference_model import PreferenceModel
from ..prefgen.embedding import UserEmbedding, extract
from ..prefgen.errors import EmbeddingError
from ..prefgen.history import LikedImages, NothingLiked, UserHistory
from .images import to_comfy
from .memory.model_management import ready
from .server.status_text import show_status
from .sockets import EmbeddingType, HistoryType, PreferenceModelType

ONLY_LIKED = (
    "{name} has {count} and no disliked one: the embedding tells what the liked images look like (img), "
    "and nothing of what sets them apart (sem, core). Dislike an image to have those."
)

NO_TASTE = "{name} has liked no image yet: the embedding is empty, and what is painted with it is painted plainly."

log = logging.getLogger(__name__)


class EncodeUserHistory(io.ComfyNode):
    """A user embedding: PrefDisc's states at the end of the history, and CLIP embeddings of the liked images."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EncodeUserHistory",
            display_name="Encode User History",
            category="PrefGen",
            description="Reads a history once into a user embedding, for Apply Preference Adapter.",
            search_aliases=["prefgen", "user embedding", "encode taste", "personalise"],
            inputs=[
                PreferenceModelType.Input("model", tooltip="The preference model that reads the history."),
                HistoryType.Input("history", tooltip="The person's pairs of liked and disliked images."),
                io.ClipVision.Input(
                    "clip_vision",
                    optional=True,
                    tooltip="The CLIP image tower the adapter was trained with, where the checkpoint brings none. "
                    "The pocket checkpoint brings its own: leave this empty.",
                ),
            ],
            outputs=[
                EmbeddingType.Output(
                    display_name="embedding",
                    tooltip="The person's taste, for Apply Preference Adapter with the same preference model.",
                )
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        model: PreferenceModel,
        history: UserHistory | LikedImages | NothingLiked,
        clip_vision: ClipVisionModel | None = None,
    ) -> io.NodeOutput:
        images = 2 * len(history) if isinstance(history, UserHistory) else 0
        # Neither the alignment nor the adapter reads a history.
        ready(model, "image_tower")
        if images and model.prefdisc is not None:
            ready(model, "prefdisc", memory=model.prefdisc.working_bytes(images))
        embedding = extract(model, history, clip_vision and image_embedder(clip_vision))
        if clip_vision is not None and embedding.vectors:
            _require_tower(model, embedding)
        notice = notice_of(history)
        # That nothing is liked yet is for the node to say that paints.
        show_status(cls, notice if embedding.vectors else "", f"{history.name}: {', '.join(embedding.vectors)}")
        if notice:
            log.warning(notice)
        return io.NodeOutput(embedding, ui={"text": [notice]} if notice else None)


def notice_of(history: UserHistory | LikedImages | NothingLiked) -> str:
    """What a history that is not whole lets be known; "" for one of pairs."""
    if isinstance(history, LikedImages):
        count = len(history.liked)
        return ONLY_LIKED.format(name=history.name, count=f"{count} liked image{'s' * (count > 1)}")
    return NO_TASTE.format(name=history.name) if isinstance(history, NothingLiked) else ""


def image_embedder(clip_vision: ClipVisionModel) -> Callable[[torch.Tensor], torch.Tensor]:
    """Core's CLIP_VISION as the library wants a tower: images (B, 3, H, W) -> embeddings (B, D).

    Raises EmbeddingError, when called, for a tower without CLIP's projection.
    """

    def embed(images: torch.Tensor) -> torch.Tensor:
        # core's encoder is written for inference mode, in which its weights may have been made
        with torch.inference_mode():
            embeds = clip_vision.encode_image(to_comfy(images))["image_embeds"]
        if embeds is None or embeds.ndim != 2:
            raise EmbeddingError(
                f"The CLIP_VISION is a {clip_vision.model_type}, which embeds no whole image, expected a CLIP image "
                "tower: load one with Load CLIP Vision."
            )
        return embeds

    return embed


def _require_tower(model: PreferenceModel, embedding: UserEmbedding) -> None:
    """What can be known of the tower: that its embeddings are as wide as those that the adapter was trained with."""
    if model.adapter is None or "img" not in model.adapter.config.parts:
        return
    expected, found = model.adapter.config.img_dim, len(embedding.img)
    if found != expected:
        advice = "disconnect it" if model.image_tower is not None else "connect the one the adapter was trained with"
        raise EmbeddingError(
            f"The CLIP_VISION embeds images {found} wide and the adapter of {model.name} expects {expected}: {advice} "
            "(ViT-L is 768 wide, ViT-H 1024, ViT-bigG 1280)."
        )


NODES = [EncodeUserHistory]
