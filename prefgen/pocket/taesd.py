"""A thin TAESD, written as core's.

Core builds TAESD 64 channels wide with eleven residual blocks a side, and takes no other. The pocket VAE is thinner and
shallower, and exact at that: TAESD is convolutions, ReLUs and skips, so zero channels stay zero, and a block of
zeros is the ReLU that the thin network has in its place.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import CheckpointError

CORE_WIDTH = 64
LATENT = 4
_ENCODER_BLOCKS, _DECODER_BLOCKS = (1, 3, 4, 5, 7, 8, 9, 11, 12, 13), (3, 4, 5, 8, 9, 10, 13, 14, 15, 18)
_DOWN, _UP = (2, 6, 10), (7, 12, 17)  # the convolutions between two sizes, without bias


def core_shapes() -> dict[str, tuple[int, ...]]:
    """Every weight of core's TAESD for SDXL: name -> shape."""
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
    """Surround every weight with zeros up to core's shape, and add the blocks that are left out as zeros.

    Args:
        state: core's key names; `vae_scale` and `vae_shift` pass through.

    Raises:
        CheckpointError: the state dict is no TAESD, or has a weight that core's has not or that is larger.
    """
    if "taesd_encoder.0.weight" not in state:
        raise CheckpointError(
            "The VAE file has no tensor taesd_encoder.0.weight; a TAESD in core's key names is expected."
        )
    shapes = core_shapes()
    wide = {name: state[name] for name in ("vae_scale", "vae_shift") if name in state}
    for name, tensor in state.items():
        if name in wide:
            continue
        room = shapes.get(name)
        if room is None or len(room) != tensor.dim() or any(a > b for a, b in zip(tensor.shape, room, strict=True)):
            raise CheckpointError(
                f"The VAE file's {name} has shape {tuple(tensor.shape)}, and core's TAESD has "
                f"{'no such weight' if room is None else f'room for {room}'}: this is no TAESD for SDXL."
            )
    for name, room in shapes.items():
        wide[name] = torch.zeros(room)
        if name in state:
            wide[name][tuple(slice(n) for n in state[name].shape)] = state[name]
    return wide
