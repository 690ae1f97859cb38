"""The preference model's weights under ComfyUI's memory management: in for use, out when others need room.

Every part of a checkpoint comes and goes by itself: applying the adapter does not push the MODEL out for an 8B PrefDisc
that is not used. Where a PrefDisc does not fit beside what is needed to compute, ComfyUI keeps the layers that are too
many in the machine's memory and hands them in one by one, as it does with a MODEL.
"""

from __future__ import annotations

import comfy.model_management
import comfy.model_patcher
import comfy.ops
import torch
from comfy.patcher_extension import CallbacksMP
from torch import nn

from ...prefgen.checkpoint.preference_model import PreferenceModel
from ...prefgen.prefdisc.base.quantization import is_quantized, settle

PARTS = ("prefdisc", "image_tower", "alignment", "adapter")
WHOLE = ""
"""The one part of a model that has no others: a reward's."""


class Part(nn.Module):
    """A part as ComfyUI manages it. It writes a `device` to it, which the part itself may have a meaning for."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module


def managed(model: nn.Module) -> nn.Module:
    """Hand a freshly loaded model to ComfyUI's management, once, part by part."""
    found = {name: part for name in PARTS if isinstance(part := getattr(model, name, None), nn.Module)}
    model.patchers = {name: _patcher(part) for name, part in (found or {WHOLE: model}).items()}
    return model


def ready(model: PreferenceModel, *parts: str, memory: int = 0, whole: bool = False) -> PreferenceModel:
    """Bring parts of the model onto their device before they are used, all of them where none is named; "unload models"
    may have moved them out since.

    memory: bytes that the computation needs beside the weights. whole: no layer is handed in from outside, which a
    gradient would not pass.
    """
    for patcher in patchers(model, *parts):
        in_full = whole or not _can_be_handed_in(patcher.model)
        comfy.model_management.load_models_gpu([patcher], memory_required=memory, force_full_load=in_full)
    return model


def patchers(model: nn.Module, *parts: str) -> list[comfy.model_patcher.ModelPatcher]:
    """What ComfyUI manages these parts by, all of them where none is named."""
    held = getattr(model, "patchers", {})
    return [held[name] for name in parts or held if name in held]


def _patcher(part: nn.Module) -> comfy.model_patcher.ModelPatcher:
    if hasattr(part, "base") and not is_quantized(part):
        let_hand_in(part.base.model)
    # ComfyUI's log names the class.
    held = type(type(part).__name__, (Part,), {})(part)
    patcher = comfy.model_patcher.ModelPatcher(
        held,
        load_device=comfy.model_management.text_encoder_device(),
        offload_device=comfy.model_management.text_encoder_offload_device(),
        # ComfyUI would ask the state dict, for which bitsandbytes unpacks every layer.
        size=sum(x.nbytes for x in (*held.parameters(), *held.buffers())),
    )
    patcher.add_callback(CallbacksMP.ON_LOAD, _bring_the_rest)
    patcher.add_callback(CallbacksMP.ON_DETACH, lambda patcher, *_: settle(patcher.model))
    return patcher


def let_hand_in(module: nn.Module) -> None:
    """Make the plain linear layers of a module, which hold nearly all of its weights, ones of ComfyUI's kind: the same
    layers, that also compute while their weights are elsewhere."""
    for layer in module.modules():
        if type(layer) is nn.Linear:
            layer.__class__ = comfy.ops.disable_weight_init.Linear


def _can_be_handed_in(module: nn.Module) -> bool:
    return any(hasattr(layer, "comfy_cast_weights") for layer in module.modules())


def _bring_the_rest(patcher: comfy.model_patcher.ModelPatcher, device: torch.device, *_) -> None:
    """What only whole loading moves: parameters of modules that have modules inside (P_v, the connector's latents),
    buffers (rotary frequencies), and layers that cannot be handed in, wherever ComfyUI would have left them."""
    for module in patcher.model.modules():
        if hasattr(module, "comfy_cast_weights"):
            continue
        for parameter in module.parameters(recurse=False):
            if parameter.device != device:
                parameter.data = parameter.data.to(device)
        for name, buffer in module.named_buffers(recurse=False):
            module._buffers[name] = buffer.to(device)
    settle(patcher.model)
