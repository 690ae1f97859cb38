"""Pads the pocket VAE, a narrow TAESD, to the size that ComfyUI requires.

ComfyUI builds TAESD with 64 channels and eleven residual blocks on each side only. The pocket VAE is narrower and
shallower, and the padded one equals it exactly: TAESD consists of convolutions, ReLUs and skips, so zero channels stay
zero, and a block of zeros is the ReLU that the narrow network has in its place.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import CheckpointError

CORE_WIDTH = 64
LATENT = 4
FIRST_WEIGHT = "taesd_encoder.0.weight"
_ENCODER_BLOCKS, _DECODER_BLOCKS = (1, 3, 4, 5, 7, 8, 9, 11, 12, 13), (3, 4, 5, 8, 9, 10, 13, 14, 15, 18)
_DOWN, _UP = (2, 6, 10), (7, 12, 17)  # convolutions between two resolutions, without bias


def core_shapes() -> dict[str, tuple[int, ...]]:
    """Return the shape of every weight of ComfyUI's TAESD for SDXL."""
    shapes: dict[str, tuple[int, ...]] = {}

    def conv(name: str, channels_in: int, channels_out: int, bias: bool = True) -> None:
        shapes[f"{name}.weight"] = (channels_out, channels_in, 3, 3)
        if bias:
            shapes[f"{name}.bias"] = (channels_out,)

    for part, blocks, plain in (("encoder", _ENCODER_BLOCKS, _DOWN), ("decoder", _DECODER_BLOCKS, _UP)):
        for index in blocks:
            for layer in (0, 2, 4):
                conv(f"taesd_{part}.{index}.conv.{layer}", CORE_WIDTH, CORE_WIDTH)
        for index in plain:
            conv(f"taesd_{part}.{index}", CORE_WIDTH, CORE_WIDTH, bias=False)
    conv("taesd_encoder.0", 3, CORE_WIDTH)
    conv("taesd_encoder.14", CORE_WIDTH, LATENT)
    conv("taesd_decoder.1", LATENT, CORE_WIDTH)
    conv("taesd_decoder.19", CORE_WIDTH, 3)
    return shapes


def pad_to_core_width(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Pad every weight with zeros to ComfyUI's shape, and add missing blocks as zeros.

    Args:
        state: Weights with ComfyUI's names. `vae_scale` and `vae_shift` stay unchanged.

    Raises:
        CheckpointError: The weights are not those of a TAESD that fits into ComfyUI's.
    """
    shapes = core_shapes()
    padded = {name: state[name] for name in ("vae_scale", "vae_shift") if name in state}
    narrow = {name: tensor for name, tensor in state.items() if name not in padded}
    fits = {name: name in shapes and _fits_into(tensor.shape, shapes[name]) for name, tensor in narrow.items()}
    if FIRST_WEIGHT not in state or not all(fits.values()):
        misfit = next(name for name, fit in fits.items() if not fit) if FIRST_WEIGHT in state else f"no {FIRST_WEIGHT}"
        raise CheckpointError(f"The VAE file has {misfit}, which does not fit a TAESD for SDXL with ComfyUI's names.")
    for name, shape in shapes.items():
        padded[name] = torch.zeros(shape)
        if name in narrow:
            padded[name][tuple(slice(n) for n in narrow[name].shape)] = narrow[name]
    return padded


def _fits_into(shape: tuple[int, ...], larger: tuple[int, ...]) -> bool:
    return len(shape) == len(larger) and all(a <= b for a, b in zip(shape, larger, strict=True))
