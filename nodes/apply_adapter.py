"""The node ApplyPreferenceAdapter: makes every cross-attention block of SDXL's UNet also attend to a user's tokens."""

from __future__ import annotations

from dataclasses import replace

import torch
from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io

from ..prefgen.adapter import PARTS, PreferenceAdapter
from ..prefgen.adapter.blocks import MAX_STRENGTH, PRESETS, parse_block_weights
from ..prefgen.checkpoint.preference_model import PreferenceModel
from ..prefgen.embedding import UserEmbedding
from ..prefgen.errors import CheckpointError, EmbeddingError, PrefGenError
from .attention.masks import SpatialMask
from .attention.unet import patch_user_attention
from .attention.unet_blocks import require_fit
from .inputs import check_inputs
from .memory.model_management import load_to_device
from .server.status_text import HIDDEN, show_status
from .sockets import EmbeddingType, PreferenceModelType

IGNORE, PUSH_AWAY = "ignore", "push away"
"""Options for the disliked images."""

NO_LIKES = "{name} has not liked an image yet; the MODEL is unchanged."
NO_DISLIKES = "{name} has not disliked an image yet: there is nothing to push away."
BLACK_MASK = (
    "The mask is black, so nothing is personalised and the MODEL is unchanged. Load Image outputs a black mask for an "
    "image without transparency: paint the mask in its mask editor, or use Convert Image to Mask."
)
UNCHANGED = "The strength for {name} is 0; the MODEL is unchanged."


def strength_input(name: str, tooltip: str) -> io.Float.Input:
    return io.Float.Input(name, default=1.0, min=0.0, max=MAX_STRENGTH, step=0.05, tooltip=tooltip)


def percent_input(name: str, default: float, tooltip: str) -> io.Float.Input:
    return io.Float.Input(name, default=default, min=0.0, max=1.0, step=0.01, tooltip=tooltip)


class ApplyPreferenceAdapter(io.ComfyNode):
    """Personalises an SDXL MODEL for the user whom an embedding represents."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ApplyPreferenceAdapter",
            display_name="Apply Preference Adapter (Taste)",  # search ranks names before aliases
            category="PrefGen",
            description="Personalises an SDXL MODEL: its images follow one user's taste, whatever the prompt.",
            search_aliases=[
                "prefgen",
                "taste",
                "favourite",
                "favorite",
                "personalise",
                "personalize",
                "ip adapter",
                "style",
            ],
            inputs=[
                io.Model.Input("model", tooltip="SDXL MODEL that the preference checkpoint was trained for."),
                PreferenceModelType.Input("preference_model", tooltip="Preference checkpoint with an adapter."),
                EmbeddingType.Input(
                    "embedding", tooltip="User embedding from Encode User History with the same preference model."
                ),
                strength_input("strength", "Overall strength. 0 leaves the MODEL unchanged."),
                strength_input("sem_strength", "Strength of sem: the subjects and moods that the user chooses."),
                strength_input("core_strength", "Strength of core: what distinguishes this user from others."),
                strength_input("img_strength", "Strength of img: the look of the liked images."),
                percent_input("start_percent", 0.0, "Start of the effect in the denoising. 0 is the first step."),
                percent_input("end_percent", 1.0, "End of the effect in the denoising. 1 is the last step."),
                io.Combo.Input(
                    "dislikes",
                    options=[IGNORE, PUSH_AWAY],
                    default=IGNORE,
                    optional=True,
                    tooltip="Push away: uses the disliked images as a negative prompt. Needs a cfg above 1.",
                ),
                io.Combo.Input(
                    "blocks",
                    options=list(PRESETS),
                    default="all",
                    optional=True,
                    tooltip="Blocks of the UNet that are personalised: all, or only those that determine style or "
                    "composition in SDXL.",
                ),
                io.String.Input(
                    "block_weights",
                    default="",
                    optional=True,
                    tooltip="Custom weights: one number for each layer (SDXL has 11), or names, for example "
                    "input=0.5, output.1=1. Blocks that are not named follow `blocks`.",
                ),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="Region to personalise (white), as large as the image. One mask, or one for each image.",
                ),
                io.Float.Input(
                    "variety",
                    default=1.0,
                    min=0.0,
                    max=MAX_STRENGTH,
                    step=0.05,
                    optional=True,
                    tooltip="Variation between seeds. 1: each seed samples from the likely preferences. 0: always "
                    "the most likely ones. Only for adapters with codebooks.",
                ),
            ],
            outputs=[io.Model.Output(tooltip="Personalised MODEL.")],
            hidden=list(HIDDEN),
        )

    @classmethod
    @check_inputs
    def execute(
        cls,
        model: ModelPatcher,
        preference_model: PreferenceModel,
        embedding: UserEmbedding,
        strength: float,
        sem_strength: float,
        core_strength: float,
        img_strength: float,
        start_percent: float,
        end_percent: float,
        dislikes: str = IGNORE,
        blocks: str = "all",
        block_weights: str = "",
        mask: torch.Tensor | None = None,
        variety: float = 1.0,
    ) -> io.NodeOutput:
        part_strengths = dict(zip(PARTS, (sem_strength, core_strength, img_strength), strict=True))
        if start_percent > end_percent:
            raise PrefGenError(f"start_percent is {start_percent:g}; expected at most end_percent, {end_percent:g}.")
        adapter = load_to_device(preference_model, "adapter").require("adapter")
        embedding.require_from(preference_model)
        require_fit(model, adapter.config)
        weights = parse_block_weights(adapter.config.ordered_blocks(), blocks, block_weights)
        spatial_mask = None if mask is None else SpatialMask(mask)
        if not embedding.vectors:
            notice = NO_LIKES.format(name=embedding.name)
            show_status(cls, notice, "")
            return io.NodeOutput(model, ui={"text": [notice]})
        if spatial_mask is not None and spatial_mask.is_black:
            show_status(cls, BLACK_MASK, "")
            return io.NodeOutput(model, ui={"text": [BLACK_MASK]})
        strengths = {part: strength * value for part, value in part_strengths.items()}
        if not any(strengths[part] for part in adapter.config.parts) or not any(weights.values()):
            show_status(cls, "", UNCHANGED.format(name=embedding.name))
            return io.NodeOutput(model)  # the image stays bit-identical
        pushes = dislikes == PUSH_AWAY and embedding.disliked_img is not None
        notice = NO_DISLIKES.format(name=embedding.name) if dislikes == PUSH_AWAY and not pushes else ""
        show_status(cls, notice, describe(embedding, pushes))
        embedding, strengths = fill_missing_parts(adapter, embedding, strengths)
        negative_user, negative_strengths = preference_model.unconditional, strengths
        if pushes:
            negative_user = disliked_as_liked(adapter, embedding, preference_model.name)
            negative_strengths = strengths | {"sem": 0.0, "core": 0.0}
        codebook = negative = None
        with torch.inference_mode(False), torch.no_grad():  # gradients can flow through these tensors later
            keys_values = adapter.for_users(embedding, strengths, block_weights=weights)
            if adapter.codebook is not None and variety > 0:
                codebook = adapter.codebook_logits(embedding, strengths, weights).to("cpu")  # keeps VRAM free
            if negative_user is not None:
                negative = adapter.negative_keys_values(negative_user, negative_strengths, weights)
        patched = patch_user_attention(
            model, keys_values, start_percent, end_percent, negative, spatial_mask, codebook, variety
        )
        return io.NodeOutput(patched, ui={"text": [notice]} if notice else None)


def describe(embedding: UserEmbedding, pushes: bool) -> str:
    """Describe what the images are personalised for, without using the names of the embedding's parts."""
    look = " by the look of the liked images" if list(embedding.vectors) == ["img"] else ""
    away = ", away from the disliked images" if pushes else ""
    return f"Personalised for {embedding.name}{look}{away}."


def disliked_as_liked(adapter: PreferenceAdapter, embedding: UserEmbedding, checkpoint: str) -> UserEmbedding:
    """Return the embedding with `img` replaced by the embedding of the disliked images.

    Raises:
        CheckpointError: The adapter does not use images.
        EmbeddingError: The embedding of the disliked images does not have the width that the adapter expects.
    """
    if "img" not in adapter.config.parts:
        raise CheckpointError(
            f"The adapter of {checkpoint} does not use img, but dislikes = {PUSH_AWAY!r} needs it. Set dislikes to "
            f"{IGNORE!r}, or choose another checkpoint."
        )
    disliked, expected = embedding.disliked_img, adapter.config.dim("img")
    if len(disliked) != expected:
        raise EmbeddingError(
            f"The disliked_img part of {embedding.name!r} is {len(disliked)} wide; expected a width of {expected}. "
            f"Encode the history again, or set dislikes to {IGNORE!r}."
        )
    return replace(embedding, img=disliked)


def fill_missing_parts(
    adapter: PreferenceAdapter, embedding: UserEmbedding, strengths: dict[str, float]
) -> tuple[UserEmbedding, dict[str, float]]:
    """Add `sem` and `core` with strength 0 if the embedding has only `img`, as for a user without dislikes."""
    parts = adapter.config.parts
    if list(embedding.vectors) != ["img"] or "img" not in parts:
        return embedding, strengths
    missing = {part: torch.zeros(adapter.config.dim(part)) for part in ("sem", "core") if part in parts}
    return replace(embedding, **missing), strengths | dict.fromkeys(missing, 0.0)


NODES = [ApplyPreferenceAdapter]
