"""Defines a TAESD that is narrower and shallower than ComfyUI's, with the same layer numbers and tensor names.

TAESD is a chain of convolutions, ReLUs and residual blocks. So a narrow TAESD is equivalent to ComfyUI's 64-channel
TAESD with zeros in the other channels, and an omitted block is equivalent to a block of zeros (a ReLU).
`prefgen.pocket.taesd` adds these zeros when the file is loaded. Only the nonzero part is trained, which takes much less
time.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

WIDTHS = (24, 48, 64, 64)  # default channels at full, half, quarter and eighth size
ENCODER_BLOCKS = (0, 1, 2, 3)  # residual blocks at each size; ComfyUI has 1, 3, 3, 3
DECODER_BLOCKS = (1, 2, 2, 3)
_FIRST = (0, 2, 6, 10)  # the encoder's first convolution at each size


class Block(nn.Module):
    """TAESD's residual block. Its tensors are named `conv.0`, `conv.2` and `conv.4`, as in ComfyUI."""

    def __init__(self, channels: int):
        super().__init__()
        convs = [nn.Conv2d(channels, channels, 3, padding=1) for _ in range(3)]
        self.conv = nn.Sequential(convs[0], nn.ReLU(), convs[1], nn.ReLU(), convs[2])

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.conv(x) + x)


class Clamp(nn.Module):
    """TAESD's soft clamp of latents to (-3, 3)."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x / 3) * 3


def _blocks(channels: int, present: int, places: int) -> list[nn.Module]:
    """Return `places` modules: `present` residual blocks, followed by a ReLU for each omitted block."""
    return [Block(channels) for _ in range(present)] + [nn.ReLU() for _ in range(places - present)]


class ThinTAESD(nn.Module):
    """Encoder and decoder with ComfyUI's layer numbers. Images (B, 3, H, W) in [0, 1], latents (B, 4, H/8, W/8)."""

    def __init__(self, widths: Sequence[int] = WIDTHS):
        super().__init__()
        w = widths
        encoder: list[nn.Module] = [nn.Conv2d(3, w[0], 3, padding=1), *_blocks(w[0], ENCODER_BLOCKS[0], 1)]
        for level in (1, 2, 3):
            encoder.append(nn.Conv2d(w[level - 1], w[level], 3, stride=2, padding=1, bias=False))
            encoder += _blocks(w[level], ENCODER_BLOCKS[level], 3)
        self.taesd_encoder = nn.Sequential(*encoder, nn.Conv2d(w[3], 4, 3, padding=1))
        decoder: list[nn.Module] = [Clamp(), nn.Conv2d(4, w[3], 3, padding=1), nn.ReLU()]
        for level in (3, 2, 1):
            decoder += _blocks(w[level], DECODER_BLOCKS[level], 3)
            decoder += [nn.Upsample(scale_factor=2), nn.Conv2d(w[level], w[level - 1], 3, padding=1, bias=False)]
        decoder += [*_blocks(w[0], DECODER_BLOCKS[0], 1), nn.Conv2d(w[0], 3, 3, padding=1)]
        self.taesd_decoder = nn.Sequential(*decoder)

    @classmethod
    def of(cls, state: dict[str, Tensor]) -> ThinTAESD:
        """Build a model with the widths of the given weights, and load the weights."""
        model = cls([len(state[f"taesd_encoder.{first}.weight"]) for first in _FIRST])
        model.load_state_dict({k: v.float() for k, v in state.items() if k.startswith("taesd_")})
        return model

    def encode(self, images: Tensor) -> Tensor:
        return self.taesd_encoder(images)

    def decode(self, latents: Tensor) -> Tensor:
        return self.taesd_decoder(latents)
