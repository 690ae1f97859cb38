"""The CLIP image encoder of a checkpoint, for the `img` part of user embeddings.

The pocket checkpoint names the bundled encoder. Other checkpoints contain theirs: tensors named `image_tower.`, and in
the header the kind (a CLIP of transformers or of open_clip), its configuration and the normalisation of pixels.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import CheckpointError
from ..rewards.preprocess import resize_and_crop
from ..safefile import load_tensors, open_safetensors
from ..validation import errors_as, requiring_package

if TYPE_CHECKING:
    from transformers import CLIPVisionModelWithProjection

_SMALL_TEXT = {"context_length": 2, "vocab_size": 2, "width": 8, "heads": 1, "layers": 1}
"""open_clip builds images and text together; the text encoder is thrown away."""


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


class PublishedImageTower(nn.Module):
    """Encodes images as published CLIP models do: the shorter edge resized, the centre cropped.

    Args:
        model: Maps pixels (B, 3, S, S) to embeddings (B, D).
        size: Side S of the pixels.
        mean, std: Normalisation of each channel.
    """

    def __init__(self, model: nn.Module, size: int, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.model = model
        self.size, self.mean, self.std = size, tuple(mean), tuple(std)

    def forward(self, images: Tensor) -> Tensor:
        """Encode images (B, 3, H, W) in [0, 1] into (B, D), L2-normalised. Differentiable."""
        weight = next(self.model.parameters())
        pixels = resize_and_crop(images.to(weight.device), self.size, weight.dtype, self.mean, self.std)
        embeddings = self.model(pixels)
        return F.normalize(getattr(embeddings, "image_embeds", embeddings), dim=-1)


def build_image_tower(header: Mapping[str, Any]) -> PublishedImageTower:
    """Build an untrained encoder from a checkpoint's header.

    Args:
        header: "kind" ("clip" or "open_clip"), "config", "size", "mean" and "std".

    Raises:
        CheckpointError: The header describes no such encoder, or open_clip is not installed.
    """
    errors = (KeyError, TypeError, ValueError, AttributeError, RuntimeError)
    with errors_as(CheckpointError, "The image tower cannot be built", "Download the checkpoint again.", errors):
        if header["kind"] == "clip":
            from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

            model = CLIPVisionModelWithProjection(CLIPVisionConfig(**header["config"]))
        else:
            with requiring_package("open_clip_torch", "The checkpoint's image tower", CheckpointError):
                from open_clip import CLIP
            config = header["config"]
            model = CLIP(config["embed_dim"], config["vision_cfg"], _SMALL_TEXT).visual
        return PublishedImageTower(model, header["size"], header["mean"], header["std"])


def load_image_tower(path: Path) -> ImageTower:
    """Load an encoder from a .safetensors file whose metadata contains the JSON of a `CLIPVisionConfig` as `config`.

    Raises:
        CheckpointError: The file is missing or damaged, or does not match its config.
    """
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    errors = (ValueError, KeyError, TypeError, RuntimeError)
    with errors_as(
        CheckpointError, f"{path.name} cannot be read as a CLIP image encoder", "Download it again.", errors
    ):
        with open_safetensors(path) as file:
            model = CLIPVisionModelWithProjection(CLIPVisionConfig(**json.loads(file.metadata()["config"])))
        state = {name: tensor.float() for name, tensor in load_tensors(path).items()}
        missing, _ = model.load_state_dict(state, strict=False)
        if set(missing) & {name for name, _ in model.named_parameters()}:
            raise RuntimeError(f"{len(missing)} tensors are missing, such as {missing[0]}")
    return ImageTower(model)
