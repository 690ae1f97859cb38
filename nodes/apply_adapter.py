"""ApplyPreferenceAdapter: the user's branch in every cross-attention block of SDXL's UNet."""

from __future__ import annotations

from dataclasses import replace

import torch
from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io

from ..prefgen.adapter import PARTS, PreferenceAdapter
from ..prefgen.adapter import blocks as block_choice
from ..prefgen.checkpoint.preference_model import PreferenceModel
from ..prefgen.embedding import UserEmbedding
from ..prefgen.errors import CheckpointError, EmbeddingError, PrefGenError
from ..prefgen.validation import format_value, is_number
from .attention.keys_values import led_away_from, user_keys_values, user_words
from .attention.masks import SpatialMask
from .attention.unet import check_fits, patch_user_branch
from .memory.model_management import ready
from .server.status_text import show_status
from .sockets import EmbeddingType, PreferenceModelType

IGNORE, PUSH = "ignore", "push away"
"""What becomes of the disliked images."""

PLAIN = "{name} has liked no image yet: the MODEL paints plainly."


def strength_input(part: str, tooltip: str) -> io.Float.Input:
    """How much of something goes in, from none to four times."""
    return io.Float.Input(part, default=1.0, min=0.0, max=block_choice.STRONGEST, step=0.05, tooltip=tooltip)


def percent_input(name: str, default: float, tooltip: str) -> io.Float.Input:
    """A place in the denoising, from its first step to its last."""
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
                io.Combo.Input(
                    "dislikes",
                    options=[IGNORE, PUSH],
                    default=IGNORE,
                    optional=True,
                    tooltip="Push away: what the disliked images look like goes where the negative prompt goes, so "
                    "that guidance leads away from it. Needs a cfg above 1.",
                ),
                io.Combo.Input(
                    "blocks",
                    options=list(block_choice.PRESETS),
                    default="all",
                    optional=True,
                    tooltip="Where in the UNet the taste goes in: everywhere, or only where SDXL makes style, or "
                    "composition.",
                ),
                io.String.Input(
                    "block_weights",
                    default="",
                    optional=True,
                    tooltip="For your own choice of blocks: a weight a layer (SDXL has 11), or names: "
                    "input=0.5, output.1=1. What is not named is as `blocks` says.",
                ),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="Where in the image the taste counts: white. As large as the image; one, or one an image.",
                ),
                io.Float.Input(
                    "variety",
                    default=1.0,
                    min=0.0,
                    max=block_choice.STRONGEST,
                    step=0.05,
                    optional=True,
                    tooltip="How differently pictures read the taste: 1 lets each seed draw among what this person "
                    "likes, as often as they like it; 0 always takes the likeliest. For adapters of words.",
                ),
            ],
            outputs=[io.Model.Output(tooltip="The MODEL that paints to this person's taste.")],
            hidden=[io.Hidden.unique_id],
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
        dislikes: str = IGNORE,
        blocks: str = "all",
        block_weights: str = "",
        mask: torch.Tensor | None = None,
        variety: float = 1.0,
    ) -> io.NodeOutput:
        shares = dict(zip(PARTS, (sem_strength, core_strength, img_strength), strict=True))
        named = {f"{part}_strength": share for part, share in shares.items()}
        check_numbers({"strength": strength, "variety": variety} | named, start, end)
        adapter = ready(preference_model, "adapter").require("adapter")
        embedding.require_from(preference_model)
        check_fits(model, adapter.config)
        weights = chosen_blocks(adapter, blocks, block_weights)
        where = None if mask is None else SpatialMask(mask)
        notice = "" if embedding.vectors else PLAIN.format(name=embedding.name)
        show_status(cls, notice, f"{embedding.name}: {', '.join(part for part in PARTS if part in embedding.vectors)}")
        if notice:
            return io.NodeOutput(model, ui={"text": [notice]})
        if not strength or not any(shares[part] for part in adapter.config.parts) or not any(weights.values()):
            return io.NodeOutput(model)  # nothing to add, and so the very same image
        strengths = {part: strength * share for part, share in shares.items()}
        embedding, strengths = with_silent_parts(adapter, embedding, strengths)
        name = preference_model.name
        liked = user_keys_values(adapter, embedding, strengths, weights, name)
        draws = adapter.choice is not None and variety > 0
        spoken = user_words(adapter, embedding, strengths, weights, name) if draws else None
        against = preference_model.nobody
        if dislikes == PUSH:
            against, strengths = turned_away(adapter, embedding, name), strengths | {"sem": 0.0, "core": 0.0}
        negative = None if against is None else led_away_from(adapter, against, strengths, weights, name)
        return io.NodeOutput(patch_user_branch(model, liked, start, end, negative, where, spoken, variety))


def check_numbers(strengths: dict[str, float], start: float, end: float) -> None:
    """Numbers from other nodes, which ComfyUI does not hold to an input's limits, nor to its type where they come
    through a link of any type. Raises PrefGenError."""
    for name, value in strengths.items():
        if not is_number(value) or not 0 <= value <= block_choice.STRONGEST:
            raise PrefGenError(
                f"{name} is {format_value(value)}, expected 0 to {block_choice.STRONGEST:g}: choose a value in between."
            )
    for name, value in (("start", start), ("end", end)):
        if not is_number(value) or not 0 <= value <= 1:
            raise PrefGenError(f"{name} is {format_value(value)}, expected 0 to 1: choose a value in between.")
    if start > end:
        raise PrefGenError(f"start is {start:g} and end is {end:g}; start must not be above end: exchange them.")


def chosen_blocks(adapter: PreferenceAdapter, preset: str, listed: str) -> dict[str, float]:
    """A weight for each of the adapter's blocks, in the UNet's order."""
    # an IP-Adapter's blocks come with the middle last
    order = sorted((name for name, _ in adapter.config.blocks), key=lambda name: "imo".index(name[0]))
    return block_choice.block_weights(order, preset, listed)


def turned_away(adapter: PreferenceAdapter, embedding: UserEmbedding, name: str) -> UserEmbedding:
    """The embedding with the disliked images in the place of the liked ones.

    Raises EmbeddingError where there are none, or of another width, and CheckpointError where the adapter looks at no
    images.
    """
    if "img" not in adapter.config.parts:
        raise CheckpointError(
            f"The adapter of {name} has no img tokens, and dislikes are pushed away by what images look like: "
            f"set dislikes to {IGNORE!r}, or choose a checkpoint whose adapter has them."
        )
    if embedding.disliked_img is None:
        raise EmbeddingError(
            f"The embedding of {embedding.name!r} has no disliked images, which dislikes = {PUSH!r} needs: encode the "
            f"history again, or set dislikes to {IGNORE!r}."
        )
    found, expected = len(embedding.disliked_img), adapter.config.dim("img")
    if found != expected:
        raise EmbeddingError(
            f"The disliked_img part of {embedding.name!r} is {found} wide and the adapter of {name} expects "
            f"{expected}: encode the history again with this preference checkpoint."
        )
    return replace(embedding, img=embedding.disliked_img)


def with_silent_parts(
    adapter: PreferenceAdapter, embedding: UserEmbedding, strengths: dict[str, float]
) -> tuple[UserEmbedding, dict[str, float]]:
    """Of a user who disliked nothing yet only `img` is known: `sem` and `core` are there as parts of strength 0. Any
    other part that is missing is the adapter's to refuse."""
    parts = adapter.config.parts
    if list(embedding.vectors) != ["img"] or "img" not in parts:
        return embedding, strengths
    silent = {part: torch.zeros(adapter.config.dim(part)) for part in ("sem", "core") if part in parts}
    return replace(embedding, **silent), strengths | dict.fromkeys(silent, 0.0)


NODES = [ApplyPreferenceAdapter]
