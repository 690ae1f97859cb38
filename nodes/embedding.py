"""The node EncodeUserHistory: encodes a user history into a user embedding."""

from __future__ import annotations

import logging

from comfy.clip_vision import ClipVisionModel
from comfy_api.latest import io

from ..prefgen.checkpoint.preference_model import PreferenceModel
from ..prefgen.embedding import UserEmbedding, encode_user
from ..prefgen.errors import EmbeddingError
from ..prefgen.history import History
from .inputs import check_inputs
from .load_clip_vision_model import clip_vision_encoder
from .memory.model_management import load_scorer, load_to_device
from .server.status_text import HIDDEN, show_status
from .sockets import EmbeddingType, HistoryType, PreferenceModelType

NO_DISLIKES = (
    "{name} has {count} and no disliked ones: the embedding describes the look of the liked images, but not what "
    "distinguishes them from disliked ones. To add that, dislike an image."
)

NO_LIKES = "{name} has not liked an image yet: the embedding is empty, and images are not personalised."

log = logging.getLogger(__name__)


class EncodeUserHistory(io.ComfyNode):
    """Encodes a history into a user embedding: PrefDisc's last hidden states, and CLIP embeddings of the images."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EncodeUserHistory",
            display_name="Encode User History",
            category="PrefGen",
            description="Encodes a history once into a user embedding, for Apply Preference Adapter.",
            search_aliases=["prefgen", "user embedding", "encode taste", "personalise", "personalize"],
            inputs=[
                PreferenceModelType.Input("preference_model", tooltip="Preference model that encodes the history."),
                HistoryType.Input("history", tooltip="The user's pairs of liked and disliked images."),
                io.ClipVision.Input(
                    "clip_vision",
                    optional=True,
                    tooltip="CLIP image encoder that the adapter was trained with. Leave it empty if the checkpoint "
                    "contains one, as the pocket checkpoint does.",
                ),
            ],
            outputs=[
                EmbeddingType.Output(
                    display_name="embedding",
                    tooltip="User embedding, for Apply Preference Adapter with the same preference model.",
                )
            ],
            hidden=list(HIDDEN),
        )

    @classmethod
    @check_inputs
    def execute(
        cls, preference_model: PreferenceModel, history: History, clip_vision: ClipVisionModel | None = None
    ) -> io.NodeOutput:
        load_to_device(preference_model, "image_tower")  # neither the alignment nor the adapter is needed
        if history.has_pairs and preference_model.prefdisc is not None:
            load_scorer(preference_model, 2 * len(history))
        embedding = encode_user(preference_model, history, clip_vision and clip_vision_encoder(clip_vision))
        if clip_vision is not None and embedding.vectors:
            _require_width(preference_model, embedding)
        notice = missing_parts_notice(history)
        # For an empty embedding, Apply Preference Adapter shows a notice.
        show_status(cls, notice if embedding.vectors else "", f"{history.name}: {history.summary}")
        if notice:
            log.warning(notice)
        return io.NodeOutput(embedding, ui={"text": [notice]} if notice else None)


def missing_parts_notice(history: History) -> str:
    """Describe what is missing from the embedding of a history. Returns "" for a history with pairs."""
    if history.has_pairs:
        return ""
    count = len(history.liked_images)
    notice = NO_DISLIKES if count else NO_LIKES
    return notice.format(name=history.name, count=f"{count} liked image{'s' * (count > 1)}")


def _require_width(model: PreferenceModel, embedding: UserEmbedding) -> None:
    """Raise EmbeddingError unless the CLIP_VISION's embeddings have the width that the adapter was trained with."""
    if model.adapter is None or "img" not in model.adapter.config.parts:
        return
    expected, width = model.adapter.config.img_dim, len(embedding.img)
    if width != expected:
        advice = "Disconnect it" if model.image_tower is not None else "Connect the encoder that it was trained with"
        raise EmbeddingError(
            f"The CLIP_VISION gives embeddings {width} wide; the adapter of {model.name} expects {expected}. {advice} "
            "(ViT-L is 768 wide, ViT-H 1024, ViT-bigG 1280)."
        )


NODES = [EncodeUserHistory]
