"""A few-step LoRA in the pocket UNet, such as a distillation leaves behind."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from prefgen.errors import ModelError

DOWN, UP, ALPHA = ".lora_A.weight", ".lora_B.weight", ".alpha"


@torch.no_grad()
def merge_lora(unet: nn.Module, file: Path) -> str:
    """Add a LoRA to a UNet's weights, in place; returns the file's fingerprint.

    Names are diffusers' with PEFT's ending, with or without "unet." in front: `<module>.lora_A.weight` (rank, in, ...),
    `<module>.lora_B.weight` (out, rank, ...), and where it is not the rank, `<module>.alpha` (LoRA, arXiv 2106.09685:
    W + alpha / rank B A). Raises ModelError for a file that is none, or that is not this UNet's.
    """
    try:
        tensors = {name.removeprefix("unet."): tensor.float() for name, tensor in load_file(file).items()}
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{file} cannot be read as .safetensors ({error}): name the LoRA's file.") from error
    modules = dict(unet.named_modules())
    names = [name.removesuffix(DOWN) for name in tensors if name.endswith(DOWN)]
    unknown = sorted(set(tensors) - {name + end for name in names for end in (DOWN, UP, ALPHA)})
    if not names or unknown:
        found = f"{unknown[0]}" if unknown else "no such tensors"
        raise ModelError(
            f"{file} holds {found}, expected <module>{DOWN} and <module>{UP} of the pocket UNet in diffusers' names: "
            "name another LoRA."
        )
    for name in names:
        down, up = tensors[name + DOWN], tensors.get(name + UP)
        weight = getattr(modules.get(name), "weight", None)
        fits = up is not None and up.flatten(1).shape[1] == len(down)
        change = _change(up, down, float(tensors.get(name + ALPHA, len(down)))) if fits else None
        if weight is None or change is None or change.numel() != weight.numel():
            raise ModelError(f"{file} has a LoRA for {name} that does not fit the pocket UNet: name one made for it.")
        weight += change.reshape(weight.shape).to(weight)
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _change(up: Tensor, down: Tensor, alpha: float) -> Tensor:
    """(out, rank, 1, 1) and (rank, in, ...) -> (out, in ...), flat."""
    return alpha / len(down) * up.flatten(1) @ down.flatten(1)
