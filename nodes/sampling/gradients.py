"""Gradients inside ComfyUI, which runs nodes in inference mode and loads models as inference tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import comfy.model_management
import torch
from comfy.ldm.modules.attention import attention_pytorch
from comfy.model_patcher import ModelPatcher
from torch import Tensor, nn

DIFFERENTIABLE_ATTENTION = (
    *("attention_pytorch", "attention_sub_quad", "attention_split", "attention_basic", "attention_xformers"),
)
"""Core's attention functions with a gradient. SageAttention silently computes none; FlashAttention raises an error."""


@contextmanager
def enable_gradients() -> Iterator[None]:
    """Leave inference mode, and tell core that a model is being trained, so that core uses differentiable kernels."""
    management = comfy.model_management
    before, management.in_training = getattr(management, "in_training", False), True
    try:
        with torch.inference_mode(False), torch.enable_grad():
            yield
    finally:
        management.in_training = before


def make_differentiable(module: nn.Module) -> None:
    """Freeze a module and replace its inference tensors with ordinary ones, in place and with the same values.

    Models that a node has loaded consist of inference tensors, which cannot take part in a backward pass.
    """
    for part in module.modules():
        for name, weight in part._parameters.items():
            if weight is not None and weight.is_inference():
                part._parameters[name] = nn.Parameter(weight.clone(), requires_grad=False)
        for name, buffer in part._buffers.items():
            if buffer is not None and buffer.is_inference():
                part._buffers[name] = buffer.clone()
    module.requires_grad_(False)


def clone_if_inference(x: Tensor | None) -> Tensor | None:
    """Return a tensor that autograd can save for the backward pass."""
    return x.clone() if x is not None and x.is_inference() else x


def differentiable_attention(attention: Callable[..., Tensor], *args, **kwargs) -> Tensor:
    """Call an attention function if it has a gradient, otherwise PyTorch's. Used as core's attention override."""
    return (attention if attention.__name__ in DIFFERENTIABLE_ATTENTION else attention_pytorch)(*args, **kwargs)


def disable_weight_streaming(patcher: ModelPatcher) -> ModelPatcher:
    """Return the same model with all weights on the device, instead of letting core stream them.

    Models that core cannot rebuild are returned unchanged.
    """
    if patcher.is_dynamic() and patcher.cached_patcher_init is not None:
        return patcher.clone(disable_dynamic=True)
    return patcher
