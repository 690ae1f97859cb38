"""Adds a LoRA to the pocket UNet, writes it in the format of ComfyUI's LoRA loader, and merges LoRA files.

Tensor names follow kohya's convention: `lora_unet_`, the module's name in diffusers with dots as underscores, then
`.lora_down.weight` (rank, in, ...), `.lora_up.weight` (out, rank, ...) or `.alpha`. peft computes W + alpha / rank B A
(LoRA, arXiv 2106.09685).
"""

from __future__ import annotations

import hashlib
import re
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
"""Every linear layer and convolution of the UNet's blocks, as in LCM-LoRA (arXiv 2311.05556)."""


def add_lora(unet: UNet2DConditionModel, rank: int) -> UNet2DConditionModel:
    """Add a trainable LoRA to a UNet in place and freeze everything else. A new LoRA does not change the output."""
    from peft import LoraConfig

    unet.requires_grad_(False).add_adapter(LoraConfig(r=rank, lora_alpha=rank, target_modules=list(TARGETS)))
    return unet


def lora_state_dict(unet: nn.Module) -> dict[str, Tensor]:
    """Return the tensors of a UNet's LoRA under their names in a LoRA file, in half precision."""
    from peft.tuners.lora import LoraLayer

    state = {}
    for module_name, layer in unet.named_modules():
        if isinstance(layer, LoraLayer):
            name = _kohya_name(module_name)
            state[name + DOWN] = layer.lora_A["default"].weight.detach().half().contiguous()
            state[name + UP] = layer.lora_B["default"].weight.detach().half().contiguous()
            state[name + ALPHA] = torch.tensor(float(layer.lora_alpha["default"])).half()
    return state


def merge_lora(unet: nn.Module, file: Path) -> str:
    """Add the LoRA from a file to a UNet's weights, in place.

    Returns:
        The SHA-256 digest of the file, in hex.

    Raises:
        ModelError: The file is not a LoRA for this UNet.
    """
    from peft import LoraConfig, set_peft_model_state_dict
    from peft.tuners.lora import LoraModel

    try:
        tensors = {name: tensor.float() for name, tensor in load_file(file).items()}
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{file} cannot be read as .safetensors ({error}).") from error
    modules = {_kohya_name(name): name for name, module in unet.named_modules() if hasattr(module, "weight")}
    names = [name.removesuffix(DOWN) for name in tensors if name.endswith(DOWN)]
    unknown = sorted(set(tensors) - {name + end for name in names if name in modules for end in (DOWN, UP, ALPHA)})
    if unknown or not names:
        raise ModelError(
            f"{file} contains {unknown[0] if unknown else 'no LoRA'}; expected tensors {PREFIX}<module>{DOWN} and {UP} "
            "for modules of the pocket UNet."
        )
    ranks = {modules[name]: len(tensors[name + DOWN]) for name in names}
    alphas = {modules[name]: float(tensors.get(name + ALPHA, len(tensors[name + DOWN]))) for name in names}
    config = LoraConfig(target_modules=list(ranks), rank_pattern=_exact(ranks), alpha_pattern=_exact(alphas))
    try:
        state = {f"model.{modules[name]}.lora_A.weight": tensors[name + DOWN] for name in names}
        state |= {f"model.{modules[name]}.lora_B.weight": tensors[name + UP] for name in names}
        lora = LoraModel(unet, config, "default")
        set_peft_model_state_dict(lora, state)
    except (KeyError, RuntimeError) as error:
        raise ModelError(f"{file} is not compatible with the pocket UNet ({error}).") from error
    lora.merge_and_unload()
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _kohya_name(module: str) -> str:
    return PREFIX + module.replace(".", "_")


def _exact(values: dict[str, float]) -> dict[str, float]:
    """Convert module names into regular expressions for peft's `rank_pattern` and `alpha_pattern`."""
    return {f"^{re.escape(name)}$": value for name, value in values.items()}
