"""Rewards by CLIP's two towers: CLIP itself, PickScore (arXiv 2305.01569) and HPSv2.1 (arXiv 2306.09341).

The text tower reads the prompt once; only the image tower runs in an iteration.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import RewardError
from .files import WEIGHTS, fill, read_weights
from .preprocess import cropped, padded

if TYPE_CHECKING:
    from open_clip import CLIP
    from transformers import CLIPModel

CONTEXT = 77
VIT_L = {
    "projection_dim": 768,
    "text_config": {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12, "projection_dim": 768},
    "vision_config": {
        **{"hidden_size": 1024, "intermediate_size": 4096, "num_attention_heads": 16, "num_hidden_layers": 24},
        **{"patch_size": 14, "projection_dim": 768},
    },
}
"""`CLIPConfig` of openai/clip-vit-large-patch14."""

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
"""`CLIPConfig` of laion/CLIP-ViT-H-14-laion2B-s32B-b79K, which PickScore starts from."""


class CosineReward(nn.Module):
    """transformers' CLIP: the cosine of image and prompt, times the model's own scale where `scaled` (PickScore)."""

    def __init__(self, model: CLIPModel, scaled: bool) -> None:
        super().__init__()
        self.model = model
        self.scaled = scaled

    def read(self, prompts: list[str]) -> Tensor:
        """The prompts' embeddings (P, D), of length one."""
        model = self.model
        states = model.text_model(input_ids=clip_tokens(prompts).to(model.device)).pooler_output
        return F.normalize(model.text_projection(states), dim=-1)

    def forward(self, images: Tensor, texts: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [0, 1], texts (B, D) -> (B,)."""
        model = self.model
        pixels = cropped(images.to(model.device), model.config.vision_config.image_size, model.dtype)
        embedded = F.normalize(model.visual_projection(model.vision_model(pixel_values=pixels).pooler_output), dim=-1)
        cosine = (embedded * texts).sum(-1).float()
        return cosine * model.logit_scale.float().exp() if self.scaled else cosine


class HpsReward(nn.Module):
    """HPSv2.1: open_clip's ViT-H, fine-tuned on human choices; the cosine of image and prompt."""

    def __init__(self, model: CLIP) -> None:
        super().__init__()
        self.model = model

    def read(self, prompts: list[str]) -> Tensor:
        """The prompts' embeddings (P, D), of length one."""
        return self.model.encode_text(clip_tokens(prompts).to(self.model.logit_scale.device), normalize=True)

    def forward(self, images: Tensor, texts: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [0, 1], texts (B, D) -> (B,)."""
        size, weight = self.model.visual.image_size[0], self.model.visual.conv1.weight
        pixels = padded(images.to(weight.device), size, weight.dtype)
        return (self.model.encode_image(pixels, normalize=True) * texts).sum(-1).float()


def clip_tokens(prompts: list[str]) -> Tensor:
    """CLIP's token ids (P, 77). open_clip brings the vocabulary, so that no file of it is needed."""
    from open_clip import SimpleTokenizer

    return SimpleTokenizer(context_length=CONTEXT)(prompts)


def load_clip(files: Mapping[str, Path]) -> CosineReward:
    """CLIP ViT-L/14, or what a config.json beside the weights describes."""
    return CosineReward(_load_towers(files[WEIGHTS], VIT_L), scaled=False)


def load_pickscore(files: Mapping[str, Path]) -> CosineReward:
    """PickScore v1 on CLIP ViT-H/14, or what a config.json beside the weights describes."""
    return CosineReward(_load_towers(files[WEIGHTS], VIT_H), scaled=True)


def load_hps(files: Mapping[str, Path]) -> HpsReward:
    """HPSv2.1 on open_clip's ViT-H-14, or what an open_clip_config.json beside the weights describes."""
    from open_clip import CLIP, get_model_config

    path = files[WEIGHTS]
    described = described_by(path.with_name("open_clip_config.json")).get("model_cfg")
    config = described or get_model_config("ViT-H-14")
    model = CLIP(config["embed_dim"], config["vision_cfg"], config["text_cfg"])
    fill(model, read_weights(path, "model."), path)
    return HpsReward(model)


def described_by(path: Path) -> dict:
    """The JSON of a file, {} where there is none. Raises RewardError where it is damaged."""
    if not path.is_file():
        return {}
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise RewardError(f"{path} is no JSON object ({error}): download the file again.") from error


def _load_towers(path: Path, usual: dict) -> CLIPModel:
    from transformers import CLIPConfig, CLIPModel

    described = described_by(path.with_name("config.json"))
    # imscore's own config.json says only which class to make.
    config = CLIPConfig(**(described if described.get("model_type") == "clip" else usual))
    model = CLIPModel(config).to(torch.float32)
    fill(model, read_weights(path, "model."), path)
    return model
