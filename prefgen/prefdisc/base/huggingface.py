"""Loads base models from Hugging Face folders on disk: config.json, tokenizer.json and .safetensors files."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from ...errors import CheckpointError
from ...validation import errors_as, first_nonfinite, format_value
from .base_model import TOKENIZER, Base, model_errors, read_tokenizer, with_full_attention
from .quantization import Quantize, keep_differentiable, quantization_config
from .shards import bytes_needed, listed_tensors, missing_weights

CONFIG = "config.json"
MODEL_TYPE = "idefics2"
ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")
"""Files of a LoRA. transformers applies one to any model in the same folder, and cannot be told not to."""

Progress = Callable[[int, int], None]
"""A callback that receives the amount done and the total."""


def is_folder(path: Path) -> bool:
    """Return whether a path may be the folder of a base model."""
    return (path / CONFIG).is_file()


def missing_files(path: Path) -> list[str]:
    """Return the names of a base model's missing files. Raises CheckpointError if the index of shards is damaged."""
    return [name for name in (CONFIG, TOKENIZER) if not (path / name).is_file()] + missing_weights(path)


def folder_bytes(path: Path, dtype: torch.dtype, quantize: Quantize = "none") -> int:
    """Compute the memory in bytes that a base model needs, from the headers of its files.

    Raises:
        CheckpointError: `load_base_folder` would refuse the folder before it loads a tensor.
    """
    _read_config(path)
    return bytes_needed(listed_tensors(path), dtype, quantize)


def load_base_folder(
    path: Path,
    base_id: str,
    dtype: torch.dtype = torch.float32,
    quantize: Quantize = "none",
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
) -> Base:
    """Load a base model. Its revision is unknown (""), because a folder does not contain it.

    Args:
        path: The folder.
        base_id: Id of the base.
        dtype: Dtype of the computation.
        quantize: Quantise tensor by tensor while loading, so that memory never holds more.
        device: Device of a quantised model. Others are loaded to the CPU.
        progress: Receives the number of loaded tensors and the total. It may raise to stop.

    Raises:
        CheckpointError: The folder holds another model or a LoRA, a file is missing or damaged, weights are NaN
            (quantised weights are not checked), or bitsandbytes is missing.
    """
    from transformers import Idefics2Config, Idefics2ForConditionalGeneration

    config = _read_config(path)
    tokenizer = read_tokenizer(path / TOKENIZER)
    listed_tensors(path)
    subject, options = str(path), {}
    if quantize != "none":
        subject = f"{path} in {quantize}"
        options = {"quantization_config": quantization_config(quantize, dtype), "device_map": {"": device}}
    with model_errors(subject, "Download its files again, or choose another precision."), _report(progress):
        model, info = Idefics2ForConditionalGeneration.from_pretrained(
            path,
            config=Idefics2Config(**with_full_attention(config)),
            dtype=dtype,
            local_files_only=True,
            use_safetensors=True,
            output_loading_info=True,
            **options,
        )
    # transformers initialises missing tensors at random and continues.
    if missing := sorted(info["missing_keys"]):
        raise CheckpointError(f"{path} lacks {len(missing)} tensors of the base ({missing[0]}). Download it again.")
    if broken := first_nonfinite(model.named_parameters()):
        raise CheckpointError(f"{path} contains NaN or infinity in {dtype} ({broken}). Download it again.")
    keep_differentiable(model)
    return Base(model.eval(), tokenizer, base_id, "")


def _read_config(path: Path) -> dict[str, Any]:
    """Read the folder's config.json.

    Raises:
        CheckpointError: It cannot be read, describes another model, or the folder also holds a LoRA.
    """
    invalid = (OSError, ValueError, RecursionError, AttributeError)
    with errors_as(CheckpointError, f"{path} has no readable {CONFIG}", "Download its files again.", invalid):
        config = json.loads((path / CONFIG).read_text(encoding="utf-8"))
        model_type = config.get("model_type")
    if model_type != MODEL_TYPE:
        raise CheckpointError(f"{path} holds a model of type {format_value(model_type)}; expected {MODEL_TYPE!r}.")
    if os.path.lexists(path / ADAPTER_FILES[0]):
        raise CheckpointError(f"{path} holds a LoRA, which would change all scores. Move {ADAPTER_FILES[0]} away.")
    return config


@contextmanager
def _report(progress: Progress | None) -> Iterator[None]:
    """Pass transformers' progress bar of tensors to `progress`, if the version of transformers has a hook for it."""
    from transformers.utils import logging

    set_hook = getattr(logging, "set_tqdm_hook", None)
    if progress is None or set_hook is None:
        yield
        return

    def bar(_, args: tuple, kwargs: dict) -> Iterable:
        return _count(args[0] if args else kwargs.get("iterable", ()), progress)

    previous = set_hook(bar)
    try:
        yield
    finally:
        set_hook(previous)


def _count(items: Iterable, progress: Progress) -> Iterator:
    """Yield items, and report their number to `progress` before each one and at the end."""
    total = len(items) if hasattr(items, "__len__") else 0
    for done, item in enumerate(items):
        if total:
            progress(done, total)
        yield item
    if total:
        progress(total, total)
