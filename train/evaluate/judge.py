"""The judge: a classifier of poster attributes, from which the true utility of a generated image is computed.

It is trained on rendered posters only (`train.pocket.judge`) and is not used in any training, reward or selection.
Settings are selected with a second network, the *validation judge*.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from train.data.posters import ATTRIBUTES, SIZE, Attributes

WEIGHTS = {name: Path(__file__).with_name(f"{name}.safetensors") for name in ("judge", "validation_judge")}


class Judge(nn.Module):
    """A small convolutional classifier with one head for each attribute.

    Args:
        width: Channels of the first layer.
        depth: Number of downsampling blocks.
    """

    def __init__(self, width: int = 24, depth: int = 4):
        super().__init__()
        layers, channels = [], 3
        for i in range(depth):
            out = width * 2 ** min(i, 2)
            layers += [nn.Conv2d(channels, out, 5 if i == 0 else 3, stride=2, padding=2 if i == 0 else 1)]
            layers += [
                nn.GroupNorm(8, out),
                nn.SiLU(),
                nn.Conv2d(out, out, 3, padding=1),
                nn.GroupNorm(8, out),
                nn.SiLU(),
            ]
            channels = out
        self.features = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(3), nn.Flatten())
        self.heads = nn.ModuleDict({n: nn.Linear(9 * channels, len(v)) for n, v in ATTRIBUTES.items()})

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Return the logits (B, values) of each attribute, for images (B, 3, 96, 96) in [0, 1]."""
        features = self.features(images * 2 - 1)
        return {name: head(features) for name, head in self.heads.items()}

    @torch.inference_mode()
    def predict(self, images: Tensor) -> list[Attributes]:
        """Predict the attributes of each image. Images are (B, 3, H, W), floats in [0, 1] or uint8."""
        images = images.float() / 255 if images.dtype == torch.uint8 else images
        if images.shape[-2:] != (SIZE, SIZE):
            images = nn.functional.interpolate(images, (SIZE, SIZE), mode="area")
        best = torch.stack([logits.argmax(-1) for logits in self(images).values()], dim=-1)
        return [Attributes.from_indices(row) for row in best.tolist()]


SHAPES = {"judge": {"width": 24, "depth": 4}, "validation_judge": {"width": 32, "depth": 3}}


def load_judge(name: str = "judge") -> Judge:
    """Load the shipped "judge" or "validation_judge"."""
    judge = Judge(**SHAPES[name])
    judge.load_state_dict({k: v.float() for k, v in load_file(WEIGHTS[name]).items()})
    return judge.eval()
