"""Applies a checkpoint's LoRA to its base model with peft, merged where possible, so that scoring costs no more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import Tensor

from ..errors import CheckpointError
from ..validation import errors_as, requiring_package
from .base.quantization import is_quantized
from .config import LoraSpec

if TYPE_CHECKING:
    from transformers import Idefics2ForConditionalGeneration

LORA_PREFIX = "lora."
PEFT_PREFIX = "base_model.model."
"""Prefix that peft puts before the names of a wrapped model. Injected LoRAs have names without it."""


def merge_lora(
    base: Idefics2ForConditionalGeneration, lora: LoraSpec, tensors: Mapping[str, Tensor], name: str
) -> Idefics2ForConditionalGeneration:
    """Merge a LoRA into `base`, in place. Over a quantised base it stays unmerged, because rounding would lose it.

    Args:
        base: The base model.
        lora: Rank, scale and target modules.
        tensors: The LoRA's tensors, named as peft names them.
        name: The checkpoint's name, for messages.

    Returns:
        The base model with the LoRA.

    Raises:
        CheckpointError: peft is not installed, or the tensors do not match the base model.
    """
    with requiring_package("peft", f"{name} has a LoRA, which", CheckpointError):
        from peft import LoraConfig, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict

    modules = lora.target_modules if isinstance(lora.target_modules, str) else list(lora.target_modules)
    problem = f"{name} has a LoRA for {lora.target_modules}, which its base model does not have"
    with errors_as(CheckpointError, problem, "It was made for another base model.", ValueError):
        wrapped = get_peft_model(base, LoraConfig(r=lora.r, lora_alpha=lora.alpha, target_modules=modules))
    tensors = {PEFT_PREFIX + key.removeprefix(PEFT_PREFIX): tensor for key, tensor in tensors.items()}
    expected = get_peft_model_state_dict(wrapped, save_embedding_layers=False)
    shapes, expected_shapes = ({(key, tensor.shape) for key, tensor in x.items()} for x in (tensors, expected))
    if differing := sorted(shapes ^ expected_shapes):
        raise CheckpointError(f"{name} has a LoRA for another base model or rank; {differing[0][0]} does not fit.")
    set_peft_model_state_dict(wrapped, tensors)
    return wrapped.get_base_model() if is_quantized(base) else wrapped.merge_and_unload()
