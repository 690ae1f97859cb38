"""LAION's aesthetic score: a small MLP on the image embedding of CLIP ViT-L/14.

imscore's class downloads CLIP when it is created, so the same layers are put together here, with imscore's tensor
names.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .clip_score import VIT_L
from .files import WEIGHTS, load_weights, read_json, read_weights
from .preprocess import resize_and_crop

if TYPE_CHECKING:
    from transformers import CLIPVisionModelWithProjection


class AestheticReward(nn.Module):
    """LAION's aesthetic score, about 1 to 10. It uses no prompt."""

    def __init__(self, clip: CLIPVisionModelWithProjection, mlp: nn.Module) -> None:
        super().__init__()
        self.clip = clip
        self.mlp = mlp

    def encode_prompts(self, prompts: list[str]) -> Tensor:
        """Return an empty row for each prompt, (P, 0)."""
        return torch.empty(len(prompts), 0)

    def forward(self, images: Tensor, texts: Tensor) -> Tensor:
        """Score images (B, 3, H, W) in [0, 1]. Returns (B,)."""
        pixels = resize_and_crop(images.to(self.clip.device), self.clip.config.image_size, self.clip.dtype)
        return self.mlp(F.normalize(self.clip(pixel_values=pixels).image_embeds, dim=-1))[:, 0].float()


def load_aesthetic(files: Mapping[str, Path]) -> AestheticReward:
    """Load LAION's aesthetic score with CLIP ViT-L/14, or with the tower that the config.json next to it describes."""
    from imscore.aesthetic.model import MLP
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    path = files[WEIGHTS]
    config = read_json(path.with_name("config.json"))
    config = config if config.get("model_type") == "clip_vision_model" else VIT_L["vision_config"]
    reward = AestheticReward(CLIPVisionModelWithProjection(CLIPVisionConfig(**config)), MLP())
    load_weights(reward, read_weights(path), path)
    return reward
