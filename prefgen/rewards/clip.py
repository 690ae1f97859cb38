"""The base of rewards by a CLIP model of transformers: the scaled cosine similarity of image and prompt."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import RewardError
from ..validation import requiring_package
from .files import load_weights, read_json, read_weights
from .preprocess import resize_and_crop

if TYPE_CHECKING:
    from transformers import CLIPModel

CONTEXT_LENGTH = 77


class ClipReward(nn.Module):
    """CLIP's logit of image and prompt: their cosine similarity times the model's logit scale (about 100)."""

    def __init__(self, model: CLIPModel) -> None:
        super().__init__()
        self.model = model

    def encode_prompts(self, prompts: list[str]) -> Tensor:
        """Return the normalised embeddings of the prompts, (P, D)."""
        model = self.model
        states = model.text_model(input_ids=tokenize(prompts).to(model.device)).pooler_output
        return F.normalize(model.text_projection(states), dim=-1)

    def forward(self, images: Tensor, texts: Tensor) -> Tensor:
        """Score images (B, 3, H, W) in [0, 1] with their text embeddings (B, D). Returns (B,)."""
        model = self.model
        pixels = resize_and_crop(images.to(model.device), model.config.vision_config.image_size, model.dtype)
        states = model.vision_model(pixel_values=pixels).pooler_output
        embeddings = F.normalize(model.visual_projection(states), dim=-1)
        return (embeddings * texts).sum(-1).float() * model.logit_scale.float().exp()


def import_open_clip(purpose: str) -> ModuleType:
    """Return the module open_clip. Raises RewardError where its package is missing."""
    with requiring_package("open_clip_torch", purpose, RewardError):
        import open_clip
    return open_clip


def tokenize(prompts: list[str]) -> Tensor:
    """Return CLIP's token ids of the prompts, (P, 77). open_clip ships the vocabulary, so no file is needed."""
    return import_open_clip("CLIP's tokenizer").SimpleTokenizer(context_length=CONTEXT_LENGTH)(prompts)


def load_clip_model(path: Path, default_config: dict) -> CLIPModel:
    """Load a CLIP model of transformers, with the config.json next to the weights if it describes one.

    Args:
        path: The weights.
        default_config: Arguments of `CLIPConfig`, used when there is no such config.json.

    Raises:
        RewardError: A file is unreadable or does not match the model, or open_clip (for its tokenizer) is missing.
    """
    import_open_clip("The reward of a CLIP model")
    from transformers import CLIPConfig, CLIPModel

    config = read_json(path.with_name("config.json"))
    # The config.json of imscore contains only the name of a class.
    config = CLIPConfig(**(config if config.get("model_type") == "clip" else default_config))
    model = CLIPModel(config).to(torch.float32)
    load_weights(model, read_weights(path, "model."), path)
    return model
