"""Loads base models in 4 or 8 bits with bitsandbytes, and works around its device and gradient limitations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

import torch
from torch import nn

from ...errors import CheckpointError
from ...validation import errors_as, require_choice
from .shards import UNQUANTIZED_MODULES

if TYPE_CHECKING:
    from transformers import BitsAndBytesConfig

Quantize = Literal["none", "nf4", "int8"]
FORMATS = get_args(Quantize)[1:]


def quantization_config(quantize: Quantize, dtype: torch.dtype) -> BitsAndBytesConfig:
    """Return transformers' configuration for loading a base in 4-bit NF4 or 8-bit LLM.int8.

    Args:
        quantize: "nf4" or "int8".
        dtype: Dtype of the computation and of unquantised modules.

    Raises:
        CheckpointError: bitsandbytes is not installed, or does not support this machine.
    """
    require_choice("quantize", quantize, FORMATS, CheckpointError)
    problem = f"{quantize} needs the package bitsandbytes, which does not load here"
    advice = "Run pip install bitsandbytes in ComfyUI's Python, or choose bfloat16."
    # OSError and RuntimeError: its binaries do not load on every machine.
    with errors_as(CheckpointError, problem, advice, (ImportError, OSError, RuntimeError)):
        import bitsandbytes  # noqa: F401
    from transformers import BitsAndBytesConfig

    # transformers matches full module names.
    skipped = [name if name == "lm_head" else f"model.{name}" for name in UNQUANTIZED_MODULES]
    if quantize == "int8":
        return BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=skipped)
    return BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype, llm_int8_skip_modules=skipped
    )


def is_quantized(model: nn.Module) -> bool:
    """Return whether a model has bitsandbytes layers."""
    return any(type(module).__module__.startswith("bitsandbytes.") for module in model.modules())


def restore_int8_scales(model: nn.Module) -> None:
    """Move the scales of 8-bit layers to the device of their weights. Call this after `model.to(device)`.

    `model.to` moves an 8-bit layer's weight, but not its scales, and not the second reference to the weight that the
    first forward pass creates. Models without 8-bit layers stay unchanged.
    """
    for module in model.modules():
        weight, state = getattr(module, "weight", None), getattr(module, "state", None)
        if state is None or not hasattr(weight, "SCB"):
            continue
        scales = weight.SCB if weight.SCB is not None else state.SCB
        if scales is not None:
            weight.CB, weight.SCB = weight.data, scales.to(weight.device)
            state.CB = state.SCB = None


def keep_differentiable(model: nn.Module) -> None:
    """Keep 4-bit layers in the only format that has a gradient.

    On CPUs with AVX512-BF16, bitsandbytes repacks them at the first forward pass without gradients. Later gradients
    would then silently be zero.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
