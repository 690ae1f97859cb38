"""The CLIP image tower whose embeddings of the liked images are the `img` part of a user embedding."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import CheckpointError

if TYPE_CHECKING:
    from transformers import CLIPVisionModelWithProjection


class ImageTower(nn.Module):
    """Images -> CLIP embeddings of length one. Pixels are read as in the pocket towers' training, scaled to [-1, 1]."""

    def __init__(self, model: CLIPVisionModelWithProjection) -> None:
        super().__init__()
        self.model = model

    @property
    def width(self) -> int:
        """D of its embeddings."""
        return self.model.config.projection_dim

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] -> (B, D), L2-normalised. Differentiable."""
        weight = self.model.visual_projection.weight
        size = (self.model.config.image_size,) * 2
        images = images.to(weight.device, weight.dtype)
        if tuple(images.shape[-2:]) != size:
            images = F.interpolate(images, size=size, mode="bilinear", antialias=True, align_corners=False)
        return F.normalize(self.model(images * 2 - 1).image_embeds, dim=-1)


def load_image_tower(path: Path) -> ImageTower:
    """Read a tower: weights in a .safetensors file whose metadata holds `CLIPVisionConfig`'s JSON as `config`.

    Raises CheckpointError where the file is missing, damaged, or does not fit its configuration.
    """
    from safetensors import SafetensorError, safe_open
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    try:
        with safe_open(path, "pt") as file:
            model = CLIPVisionModelWithProjection(CLIPVisionConfig(**json.loads(file.metadata()["config"])))
            state = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118 (not a dict)
        model.load_state_dict(state, strict=False)
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
        first = str(error).strip().splitlines()[0]
        raise CheckpointError(
            f"{path.name} cannot be read as a CLIP image tower ({first}): get the file again."
        ) from error
    missing = set(dict(model.named_parameters())) - set(state)
    if missing:
        raise CheckpointError(f"{path.name} lacks {len(missing)} tensors of its CLIP image tower: get the file again.")
    return ImageTower(model)
