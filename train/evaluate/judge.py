"""The judge: reads a poster's attributes, so that a generated image has a true utility.

Trained on drawn posters only (`train.pocket.judge`), and never part of any training, reward or selection. The
*validation judge*, a second network, is for choosing between settings.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from train.data.posters import ATTRIBUTES, SIZE, Attributes

WEIGHTS = {name: Path(__file__).with_name(f"{name}.safetensors") for name in ("judge", "validation_judge")}


class Judge(nn.Module):
    """A small convolutional classifier with one head an attribute.

    `width` and `depth` tell the judge from the validation judge: two networks, two seeds, two shapes.
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
        """Images (B, 3, 96, 96) in [0, 1] -> attribute name -> logits (B, values)."""
        features = self.features(images * 2 - 1)
        return {name: head(features) for name, head in self.heads.items()}

    @torch.inference_mode()
    def read(self, images: Tensor) -> list[Attributes]:
        """The most likely attributes of each image. Images (B, 3, H, W), float in [0, 1] or uint8."""
        images = images.float() / 255 if images.dtype == torch.uint8 else images
        if images.shape[-2:] != (SIZE, SIZE):
            images = nn.functional.interpolate(images, (SIZE, SIZE), mode="area")
        best = torch.stack([logits.argmax(-1) for logits in self(images).values()], dim=-1)
        return [Attributes.from_indices(row) for row in best.tolist()]


SHAPES = {"judge": {"width": 24, "depth": 4}, "validation_judge": {"width": 32, "depth": 3}}


def load_judge(name: str = "judge") -> Judge:
    """The shipped judge, or the "validation_judge"."""
    judge = Judge(**SHAPES[name])
    judge.load_state_dict({k: v.float() for k, v in load_file(WEIGHTS[name]).items()})
    return judge.eval()
