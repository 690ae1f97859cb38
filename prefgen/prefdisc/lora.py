"""A checkpoint's LoRA, laid over its base by peft, and merged into the weights where those can take it: scoring then
costs what the base costs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import Tensor

from ..errors import CheckpointError
from .base.quantization import is_quantized
from .config import LoraSpec

if TYPE_CHECKING:
    from transformers import Idefics2ForConditionalGeneration

PREFIX = "lora."
OUTER = "base_model.model."
"""What peft puts before the names of a model it wraps; a LoRA injected into a model has names without it."""


def merge_lora(
    base: Idefics2ForConditionalGeneration, lora: LoraSpec, tensors: Mapping[str, Tensor], name: str
) -> Idefics2ForConditionalGeneration:
    """Merge a LoRA into `base`, which is changed. Over a quantised base it stays beside the weights, as it was trained:
    4 or 8 bits would round it away.

    tensors: as peft names them. name: the checkpoint's, for messages. Raises CheckpointError where peft is missing, or
    the tensors are not those that the LoRA has on this base.
    """
    try:
        from peft import LoraConfig, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
    except ImportError as error:
        raise CheckpointError(f"{name} has a LoRA, which needs the package peft: install peft.") from error

    modules = lora.target_modules if isinstance(lora.target_modules, str) else list(lora.target_modules)
    try:
        wrapped = get_peft_model(base, LoraConfig(r=lora.r, lora_alpha=lora.alpha, target_modules=modules))
    except ValueError as error:
        raise CheckpointError(
            f"{name} has a LoRA for the modules {lora.target_modules}, which its base does not have: "
            "it was made for another base."
        ) from error
    given = {OUTER + key.removeprefix(OUTER): tensor for key, tensor in tensors.items()}
    expected = get_peft_model_state_dict(wrapped, save_embedding_layers=False)
    shapes = {key: tuple(tensor.shape) for key, tensor in expected.items()}
    if shapes != {key: tuple(tensor.shape) for key, tensor in given.items()}:
        odd = sorted(set(shapes) ^ set(given)) or [key for key in shapes if shapes[key] != tuple(given[key].shape)]
        raise CheckpointError(
            f"{name} has a LoRA of {len(given)} tensors, expected {len(shapes)} of rank {lora.r} on its base (the "
            f"first that differs is {odd[0]}): it was made for another base, or the file is damaged."
        )
    set_peft_model_state_dict(wrapped, given)
    return wrapped.get_base_model() if is_quantized(base) else wrapped.merge_and_unload()
