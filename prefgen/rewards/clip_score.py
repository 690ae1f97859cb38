"""CLIP score: the logit of image and prompt by CLIP ViT-L/14, or by the CLIP whose files are there.

ReNO (arXiv 2406.04312) uses the ViT-H/14 of laion/CLIP-ViT-H-14-laion2B-s32B-b79K.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from .clip import ClipReward, load_clip_model
from .files import WEIGHTS

VIT_L = {
    "projection_dim": 768,
    "text_config": {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12, "projection_dim": 768},
    "vision_config": {
        **{"hidden_size": 1024, "intermediate_size": 4096, "num_attention_heads": 16, "num_hidden_layers": 24},
        **{"patch_size": 14, "projection_dim": 768},
    },
}
"""The `CLIPConfig` of openai/clip-vit-large-patch14."""


def load_clip_score(files: Mapping[str, Path]) -> ClipReward:
    """Load CLIP ViT-L/14, or the model that a config.json next to the weights describes."""
    return ClipReward(load_clip_model(files[WEIGHTS], VIT_L))
