"""A LoRA on the pocket UNet: grown, written as core's LoRA loader reads it, and merged.

Names are kohya's, which every LoRA tool knows: `lora_unet_` and a module's name in diffusers' words with underscores,
`.lora_down.weight` (rank, in, ...), `.lora_up.weight` (out, rank, ...) and `.alpha` (LoRA, arXiv 2106.09685:
W + alpha / rank B A).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from prefgen.errors import ModelError

if TYPE_CHECKING:
    from diffusers import UNet2DConditionModel

PREFIX, DOWN, UP, ALPHA = "lora_unet_", ".lora_down.weight", ".lora_up.weight", ".alpha"
TARGETS = (
    *("to_q", "to_k", "to_v", "to_out.0", "proj_in", "proj_out", "ff.net.0.proj", "ff.net.2", "time_emb_proj"),
    *("conv1", "conv2", "conv_shortcut", "downsamplers.0.conv", "upsamplers.0.conv"),
)
"""Every linear layer and convolution within the UNet's blocks, as LCM-LoRA (arXiv 2311.05556) has them."""


def grow(unet: UNet2DConditionModel, rank: int) -> UNet2DConditionModel:
    """Give a frozen UNet a LoRA that learns, in place; it begins as no change."""
    from peft import LoraConfig

    unet.requires_grad_(False).add_adapter(LoraConfig(r=rank, lora_alpha=rank, target_modules=list(TARGETS)))
    return unet


def written(unet: nn.Module) -> dict[str, Tensor]:
    """The file's tensors of a UNet that has grown a LoRA, in half precision."""
    state = {}
    for name, layer in _layers(unet):
        down, up = layer.lora_A["default"].weight, layer.lora_B["default"].weight
        file_name = _file_name(name)
        state[file_name + DOWN] = down.detach().half().contiguous()
        state[file_name + UP] = up.detach().half().contiguous()
        state[file_name + ALPHA] = torch.tensor(float(layer.lora_alpha["default"])).half()
    return state


@torch.no_grad()
def merge_lora(unet: nn.Module, file: Path) -> str:
    """Add a LoRA's file to a UNet's weights, in place; returns the file's fingerprint.

    Raises ModelError for a file that is none, or that is not this UNet's.
    """
    try:
        tensors = {name: tensor.float() for name, tensor in load_file(file).items()}
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{file} cannot be read as .safetensors ({error}): name the LoRA's file.") from error
    modules = {_file_name(name): module for name, module in unet.named_modules()}
    names = [name.removesuffix(DOWN) for name in tensors if name.endswith(DOWN)]
    unknown = sorted(set(tensors) - {name + end for name in names for end in (DOWN, UP, ALPHA)})
    if not names or unknown:
        found = f"{unknown[0]}" if unknown else "no such tensors"
        raise ModelError(
            f"{file} holds {found}, expected {PREFIX}<module>{DOWN} and {UP} of the pocket UNet, dots of diffusers' "
            "names written as underscores: name another LoRA."
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


def _layers(unet: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    from peft.tuners.lora import LoraLayer

    return ((name, module) for name, module in unet.named_modules() if isinstance(module, LoraLayer))


def _file_name(module: str) -> str:
    return PREFIX + module.replace(".", "_")


def _change(up: Tensor, down: Tensor, alpha: float) -> Tensor:
    """(out, rank, 1, 1) and (rank, in, ...) -> (out, in ...), flat."""
    return alpha / len(down) * up.flatten(1) @ down.flatten(1)
