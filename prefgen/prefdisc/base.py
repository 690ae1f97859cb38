"""The base model: a real transformers Idefics2, built from a configuration with its traps taken out."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from transformers import Idefics2ForConditionalGeneration


def build_base(config: dict[str, Any]) -> Idefics2ForConditionalGeneration:
    """An untrained Idefics2 of these shapes (`Idefics2Config`'s JSON), float32.

    Two things differ from the class's own initialisation: the perceiver's latents, which would start all equal and
    so never come apart, are drawn from a normal; and sliding-window attention is off unless the configuration asks for
    it, since a window would hide the preference tokens from long histories.
    """
    from transformers import Idefics2Config, Idefics2ForConditionalGeneration

    config = copy.deepcopy(config)
    config.setdefault("text_config", {}).setdefault("sliding_window", None)
    model = Idefics2ForConditionalGeneration(Idefics2Config(**config))
    latents = model.model.connector.perceiver_resampler.latents
    with torch.no_grad():
        latents.normal_(std=latents.shape[-1] ** -0.5)
    return model
