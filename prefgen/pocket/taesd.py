"""A narrow TAESD, written as a wide one.

Core builds TAESD 64 channels wide and takes no other width. The pocket VAE is half as wide, and exact at that: channels
that are zero stay zero through convolution, ReLU and skip, so the narrow network is the wide one with zeros around it.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from ..errors import CheckpointError

CORE_WIDTH = 64


def narrow_width(state: dict[str, Tensor]) -> int:
    """Channels of a TAESD state dict, read off its first encoder convolution.

    Raises:
        CheckpointError: the state dict is no TAESD, or wider than core's.
    """
    first = state.get("taesd_encoder.0.weight")
    if first is None:
        raise CheckpointError(
            "The VAE file has no tensor taesd_encoder.0.weight; a TAESD in core's key names is expected."
        )
    width = first.shape[0]
    if width > CORE_WIDTH:
        raise CheckpointError(f"The VAE file is {width} channels wide; core's TAESD takes {CORE_WIDTH} at most.")
    return width


def widen(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Pad every hidden channel dimension of a TAESD of any width up to core's 64 with zeros.

    Args:
        state: core's key names; convolution weights (out, in, kh, kw) and biases (out,), of which the image's three
            and the latent's four channels are left alone.

    Raises:
        CheckpointError: the state dict is no TAESD, or wider than core's.
    """
    width = narrow_width(state)
    return {name: _pad_channels(tensor, width) for name, tensor in state.items()}


def _pad_channels(tensor: Tensor, width: int) -> Tensor:
    missing = [CORE_WIDTH - size if size == width else 0 for size in tensor.shape[:2]]
    kernel = [0, 0] * (tensor.dim() - len(missing))
    # F.pad counts from the last dimension backwards, (before, after) each
    return F.pad(tensor, kernel + [pad for size in reversed(missing) for pad in (0, size)]) if any(missing) else tensor
