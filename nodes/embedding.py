"""EncodeUserHistory: what the adapter needs to know of a person."""

from __future__ import annotations

import torch
from comfy_api.latest import io

from ..prefgen.embedding import extract
from ..prefgen.history import UserHistory
from ..prefgen.preference import PreferenceModel
from .images import to_comfy
from .types import EmbeddingType, HistoryType, PreferenceModelType
from .weights import ready


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
        )

    @classmethod
    def execute(cls, model: PreferenceModel, history: UserHistory, clip_vision=None) -> io.NodeOutput:
        def embed(images: torch.Tensor) -> torch.Tensor:
            # core's encoder is written for inference mode, in which its weights may have been made
            with torch.inference_mode():
                return clip_vision.encode_image(to_comfy(images))["image_embeds"]

        return io.NodeOutput(extract(ready(model), history, embed if clip_vision else None))


NODES = [EncodeUserHistory]
