"""Puts a preference model's weights under ComfyUI's memory management, so that they are loaded and unloaded on demand.

Each part of a checkpoint is managed separately, so that applying the adapter does not evict the MODEL to make room for
an unused 8B PrefDisc. If PrefDisc does not fit on the device, ComfyUI keeps some layers in CPU memory and streams them
in, as it does for a MODEL.
"""

from __future__ import annotations

import comfy.model_management
import comfy.model_patcher
import comfy.ops
import torch
from comfy.patcher_extension import CallbacksMP
from torch import nn

from ...prefgen.checkpoint.preference_model import PreferenceModel
from ...prefgen.prefdisc.base.quantization import is_quantized, restore_int8_scales
from ...prefgen.prefdisc.model import PrefDisc
from ...prefgen.taste.scorer import TasteScorer

PARTS = ("prefdisc", "image_tower", "alignment", "adapter")
ENTIRE_MODEL = ""
"""Key of the only patcher if a model has none of these parts. Reward models, for example, have none."""


class ManagedModule(nn.Module):
    """Wraps a module for ComfyUI, which sets a `device` attribute that the module itself may use differently."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module


def register_with_model_management(model: nn.Module) -> nn.Module:
    """Create a ModelPatcher for each part of a newly loaded model, and return the model."""
    parts = {name: part for name in PARTS if isinstance(part := getattr(model, name, None), nn.Module)}
    model.model_patchers = {name: _make_patcher(part) for name, part in (parts or {ENTIRE_MODEL: model}).items()}
    return model


def load_to_device(model: PreferenceModel, *parts: str, memory: int = 0, full_load: bool = False) -> PreferenceModel:
    """Load parts of a model onto their device before use. ComfyUI may have unloaded them in the meantime.

    Args:
        model: A model from `register_with_model_management`.
        *parts: Names of the parts; none means all.
        memory: Memory in bytes that the computation needs in addition to the weights.
        full_load: Whether to load all weights instead of streaming some. Gradients cannot flow through streamed layers.

    Returns:
        The model.
    """
    for patcher in model_patchers(model, *parts):
        force_full_load = full_load or not _supports_weight_streaming(patcher.model)
        comfy.model_management.load_models_gpu([patcher], memory_required=memory, force_full_load=force_full_load)
    return model


def load_scorer(model: PreferenceModel, images: int, full_load: bool = False) -> PrefDisc | TasteScorer:
    """Load and return the image scorer: PrefDisc, or the encoder of a taste head.

    Args:
        model: A model from `register_with_model_management`.
        images: Number of images to score, used to estimate the memory.
        full_load: See `load_to_device`.

    Raises:
        CheckpointError: The model cannot score images.
    """
    scorer = model.scorer
    load_to_device(model, model.scorer_part, memory=scorer.working_bytes(images), full_load=full_load)
    return scorer


def model_patchers(model: nn.Module, *parts: str) -> list[comfy.model_patcher.ModelPatcher]:
    """Return the ModelPatchers of the named parts, or of all parts if none is named."""
    patchers = getattr(model, "model_patchers", {})
    return [patchers[name] for name in parts or patchers if name in patchers]


def _make_patcher(part: nn.Module) -> comfy.model_patcher.ModelPatcher:
    if hasattr(part, "base") and not is_quantized(part):
        enable_weight_streaming(part.base.model)
    # ComfyUI logs the class name, so the wrapper is a subclass with the name of the part's class.
    module = type(type(part).__name__, (ManagedModule,), {})(part)
    patcher = comfy.model_patcher.ModelPatcher(
        module,
        load_device=comfy.model_management.text_encoder_device(),
        offload_device=comfy.model_management.text_encoder_offload_device(),
        # By default, ComfyUI computes the size from the state dict, which makes bitsandbytes unpack every layer.
        size=sum(x.nbytes for x in (*module.parameters(), *module.buffers())),
    )
    patcher.add_callback(CallbacksMP.ON_LOAD, _move_unmanaged_tensors)
    patcher.add_callback(CallbacksMP.ON_DETACH, lambda patcher, *_: restore_int8_scales(patcher.model))
    return patcher


def enable_weight_streaming(module: nn.Module) -> None:
    """Replace the plain linear layers of a module, which hold nearly all weights, with ComfyUI's.

    ComfyUI's layers compute the same results, but also work while their weights are in CPU memory.
    """
    for layer in module.modules():
        if type(layer) is nn.Linear:
            layer.__class__ = comfy.ops.disable_weight_init.Linear


def _supports_weight_streaming(module: nn.Module) -> bool:
    return any(hasattr(layer, "comfy_cast_weights") for layer in module.modules())


def _move_unmanaged_tensors(patcher: comfy.model_patcher.ModelPatcher, device: torch.device, *_) -> None:
    """Move tensors that a partial load leaves behind: parameters of containers, buffers and non-streaming layers."""
    for module in patcher.model.modules():
        if hasattr(module, "comfy_cast_weights"):
            continue
        for parameter in module.parameters(recurse=False):
            if parameter.device != device:
                parameter.data = parameter.data.to(device)
        for name, buffer in module.named_buffers(recurse=False):
            module._buffers[name] = buffer.to(device)
    restore_int8_scales(patcher.model)
