"""Defines the shapes of Idefics2-8B, and builds a base model with a LoRA that has shapes but no weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from prefgen.prefdisc.base.base_model import with_full_attention
from train.prefdisc.config import RunConfig
from train.prefdisc.lora import inject_lora, lora_spec

IDEFICS2_8B: dict[str, Any] = {
    "vision_config": {
        "hidden_size": 1152,
        "intermediate_size": 4304,
        "num_hidden_layers": 27,
        "num_attention_heads": 16,
        "image_size": 980,
        "patch_size": 14,
    },
    "perceiver_config": {
        "hidden_size": 4096,
        "resampler_n_latents": 64,
        "resampler_depth": 3,
        "resampler_n_heads": 16,
        "resampler_head_dim": 96,
        "num_key_value_heads": 4,
    },
    "text_config": {
        "model_type": "mistral",
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "vocab_size": 32003,
        "pad_token_id": 0,
    },
}
"""Shapes from the configuration file of HuggingFaceM4/idefics2-8b."""


def build_meta_model(shapes: dict[str, Any], config: RunConfig) -> nn.Module:
    """Build the base model with the run's LoRA on torch's meta device, which keeps shapes and dtypes only."""
    from transformers import Idefics2Config, Idefics2ForConditionalGeneration

    with torch.device("meta"):
        base = Idefics2ForConditionalGeneration(Idefics2Config(**with_full_attention(shapes)))
        base = base.to(getattr(torch, config.base.dtype))
        inject_lora(base, lora_spec(config.lora), config.lora.dropout, config.lora.init)
    return base
