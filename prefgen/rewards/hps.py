"""HPSv2.1 (arXiv 2306.09341): open_clip's ViT-H, fine-tuned on human choices."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor, nn

from .clip import import_open_clip, tokenize
from .files import WEIGHTS, load_weights, read_json, read_weights
from .preprocess import resize_and_pad

if TYPE_CHECKING:
    from open_clip import CLIP


class HpsReward(nn.Module):
    """The cosine similarity of image and prompt by HPSv2.1."""

    def __init__(self, model: CLIP) -> None:
        super().__init__()
        self.model = model

    def encode_prompts(self, prompts: list[str]) -> Tensor:
        """Return the normalised embeddings of the prompts, (P, D)."""
        return self.model.encode_text(tokenize(prompts).to(self.model.logit_scale.device), normalize=True)

    def forward(self, images: Tensor, texts: Tensor) -> Tensor:
        """Score images (B, 3, H, W) in [0, 1] with their text embeddings (B, D). Returns (B,)."""
        size, weight = self.model.visual.image_size[0], self.model.visual.conv1.weight
        pixels = resize_and_pad(images.to(weight.device), size, weight.dtype)
        return (self.model.encode_image(pixels, normalize=True) * texts).sum(-1).float()


def load_hps(files: Mapping[str, Path]) -> HpsReward:
    """Load HPSv2.1 as ViT-H-14, or as the open_clip_config.json next to the weights describes it."""
    open_clip = import_open_clip("HPSv2.1")
    path = files[WEIGHTS]
    config = read_json(path.with_name("open_clip_config.json")).get("model_cfg") or open_clip.get_model_config(
        "ViT-H-14"
    )
    model = open_clip.CLIP(config["embed_dim"], config["vision_cfg"], config["text_cfg"])
    load_weights(model, read_weights(path, "model."), path)
    return HpsReward(model)
