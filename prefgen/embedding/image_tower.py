"""The CLIP image encoder of the pocket checkpoint, for the `img` part of user embeddings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import CheckpointError
from ..validation import errors_as

if TYPE_CHECKING:
    from transformers import CLIPVisionModelWithProjection


class ImageTower(nn.Module):
    """Encodes images into normalised CLIP embeddings. Pixels are scaled to [-1, 1], as in its training."""

    def __init__(self, model: CLIPVisionModelWithProjection) -> None:
        super().__init__()
        self.model = model

    @property
    def width(self) -> int:
        """Width D of the embeddings."""
        return self.model.config.projection_dim

    def forward(self, images: Tensor) -> Tensor:
        """Encode images (B, 3, H, W) in [0, 1] into (B, D), L2-normalised. Differentiable."""
        weight = self.model.visual_projection.weight
        size = (self.model.config.image_size,) * 2
        images = images.to(weight.device, weight.dtype)
        if tuple(images.shape[-2:]) != size:
            images = F.interpolate(images, size=size, mode="bilinear", antialias=True, align_corners=False)
        return F.normalize(self.model(images * 2 - 1).image_embeds, dim=-1)


def load_image_tower(path: Path) -> ImageTower:
    """Load an encoder from a .safetensors file whose metadata contains the JSON of a `CLIPVisionConfig` as `config`.

    Raises:
        CheckpointError: The file is missing or damaged, or does not fit its config.
    """
    from safetensors import SafetensorError, safe_open
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    errors = (OSError, SafetensorError, ValueError, KeyError, TypeError, RuntimeError)
    with errors_as(
        CheckpointError, f"{path.name} cannot be read as a CLIP image encoder", "Download it again.", errors
    ):
        with safe_open(path, "pt") as file:
            model = CLIPVisionModelWithProjection(CLIPVisionConfig(**json.loads(file.metadata()["config"])))
            state = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118 (not a dict)
        missing, _ = model.load_state_dict(state, strict=False)
        if set(missing) & {name for name, _ in model.named_parameters()}:
            raise RuntimeError(f"{len(missing)} tensors are missing, such as {missing[0]}")
    return ImageTower(model)
