"""PickScore (arXiv 2305.01569): the logit of CLIP ViT-H/14, fine-tuned on human choices."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from .clip import ClipReward, load_clip_model
from .files import WEIGHTS

VIT_H = {
    "projection_dim": 1024,
    "text_config": {
        **{"hidden_size": 1024, "intermediate_size": 4096, "num_attention_heads": 16, "num_hidden_layers": 24},
        **{"hidden_act": "gelu", "projection_dim": 1024},
    },
    "vision_config": {
        **{"hidden_size": 1280, "intermediate_size": 5120, "num_attention_heads": 16, "num_hidden_layers": 32},
        **{"hidden_act": "gelu", "patch_size": 14, "projection_dim": 1024},
    },
}
"""The `CLIPConfig` of laion/CLIP-ViT-H-14-laion2B-s32B-b79K, from which PickScore was fine-tuned."""


def load_pickscore(files: Mapping[str, Path]) -> ClipReward:
    """Load PickScore v1, or the model that a config.json next to the weights describes."""
    return ClipReward(load_clip_model(files[WEIGHTS], VIT_H))
