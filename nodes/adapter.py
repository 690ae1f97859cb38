"""ApplyPreferenceAdapter: the user's branch in every cross-attention block of SDXL's UNet."""

from __future__ import annotations

import torch
from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io

from ..prefgen.adapter import PARTS, PreferenceAdapter
from ..prefgen.embedding import UserEmbedding
from ..prefgen.errors import PrefGenError
from ..prefgen.preference import PreferenceModel
from .attention import check_fits, patch_user_branch
from .types import EmbeddingType, PreferenceModelType
from .weights import ready


def strength_input(part: str, tooltip: str) -> io.Float.Input:
    return io.Float.Input(part, default=1.0, min=0.0, max=4.0, step=0.05, tooltip=tooltip)


def percent_input(name: str, default: float, tooltip: str) -> io.Float.Input:
    return io.Float.Input(name, default=default, min=0.0, max=1.0, step=0.01, tooltip=tooltip)


class ApplyPreferenceAdapter(io.ComfyNode):
    """MODEL and user embedding in, a MODEL that paints to the user's taste out."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ApplyPreferenceAdapter",
            display_name="Apply Preference Adapter",
            category="PrefGen",
            description="Makes an SDXL MODEL paint to one person's taste, whatever the prompt.",
            search_aliases=["prefgen", "personalise", "ip adapter", "user taste", "style"],
            inputs=[
                io.Model.Input("model", tooltip="An SDXL MODEL: the base that the preference checkpoint was made for."),
                PreferenceModelType.Input("preference_model", tooltip="The preference checkpoint with the adapter."),
                EmbeddingType.Input(
                    "embedding", tooltip="Whose taste: from Encode User History with the same checkpoint."
                ),
                strength_input("strength", "How much of the taste goes into the image; 0 leaves the MODEL as it is."),
                strength_input("sem_strength", "Share of sem, what the person's choices mean: subjects, moods."),
                strength_input("core_strength", "Share of core, what tells this person from others."),
                strength_input("img_strength", "Share of img, what the liked images look like."),
                percent_input("start", 0.0, "Where in the denoising the taste sets in: 0 is the first step."),
                percent_input("end", 1.0, "Where in the denoising it stops: 1 is the last step."),
            ],
            outputs=[io.Model.Output(tooltip="The MODEL that paints to this person's taste.")],
        )

    @classmethod
    def execute(
        cls,
        model: ModelPatcher,
        preference_model: PreferenceModel,
        embedding: UserEmbedding,
        strength: float,
        sem_strength: float,
        core_strength: float,
        img_strength: float,
        start: float,
        end: float,
    ) -> io.NodeOutput:
        if start > end:
            raise PrefGenError(f"start is {start:g} and end is {end:g}; start must not be above end: exchange them.")
        adapter = ready(preference_model).require("adapter")
        embedding.require_from(preference_model)
        check_fits(model, adapter.config)
        shares = dict(zip(PARTS, (sem_strength, core_strength, img_strength), strict=True))
        if not strength or not any(shares[part] for part in adapter.config.parts):
            return io.NodeOutput(model)  # nothing to add, and so the very same image
        strengths = {part: strength * share for part, share in shares.items()}
        return io.NodeOutput(patch_user_branch(model, user_keys_values(adapter, embedding, strengths), start, end))


def user_keys_values(
    adapter: PreferenceAdapter, embedding: UserEmbedding, strengths: dict[str, float]
) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Keys and values of every block, once for the whole sampling, as tensors that a later gradient may pass."""
    with torch.inference_mode(False), torch.no_grad():
        return adapter.keys_values(adapter.user_tokens(embedding), strengths)


NODES = [ApplyPreferenceAdapter]
