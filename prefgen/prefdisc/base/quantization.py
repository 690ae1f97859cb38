"""Base models in 4 or 8 bits, by bitsandbytes: what it is told, and what has to be put right around it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

import torch
from torch import nn

from ...errors import CheckpointError
from .shards import KEPT_WHOLE

if TYPE_CHECKING:
    from transformers import BitsAndBytesConfig

Quantize = Literal["none", "nf4", "int8"]
KINDS = get_args(Quantize)


def quantizer(quantize: Quantize, dtype: torch.dtype) -> BitsAndBytesConfig:
    """What transformers is told to read a base in 4-bit NF4, or in 8 bits by LLM.int8. dtype: of the arithmetic, and of
    what stays whole: the vocabulary matrix and the vision tower.

    Raises CheckpointError where bitsandbytes is not installed: it is optional, and there is none for some machines.
    """
    if quantize not in KINDS[1:]:
        raise CheckpointError(f"A base cannot be quantised by {quantize!r}: choose {' or '.join(KINDS[1:])}.")
    try:
        import bitsandbytes  # noqa: F401
    except (ImportError, OSError, RuntimeError) as error:
        # The last two: its binaries do not load on every machine.
        raise CheckpointError(
            f"A base in {quantize} needs the package bitsandbytes, which does not load here ({str(error)[:80]}): "
            "install it into ComfyUI's Python (pip install bitsandbytes), or choose bfloat16."
        ) from error
    from transformers import BitsAndBytesConfig

    # The modules' whole names, as transformers matches them.
    whole = [name if name == "lm_head" else f"model.{name}" for name in KEPT_WHOLE]
    if quantize == "int8":
        return BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=whole)
    return BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype, llm_int8_skip_modules=whole
    )


def is_quantized(model: nn.Module) -> bool:
    """Whether layers of it are bitsandbytes'."""
    return any(type(module).__module__.startswith("bitsandbytes.") for module in model.modules())


def settle(model: nn.Module) -> None:
    """Put 8-bit layers right after `model.to(device)`, which moves a layer's weight and leaves its scales, and after a
    first forward a second reference to the weight, on the device before. Changes nothing in a model without any."""
    for module in model.modules():
        weight, state = getattr(module, "weight", None), getattr(module, "state", None)
        if state is None or not hasattr(weight, "SCB"):
            continue
        scales = weight.SCB if weight.SCB is not None else state.SCB
        if scales is not None:
            weight.CB, weight.SCB = weight.data, scales.to(weight.device)
            state.CB = state.SCB = None


def keep_differentiable(model: nn.Module) -> None:
    """Keep 4-bit layers in the one format that has a gradient. On processors with AVX512-BF16 bitsandbytes would repack
    them at the first forward without gradient, for a product whose gradient is nothing, silently, from then on."""
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
