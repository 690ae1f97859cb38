"""A base model in a folder as Hugging Face lays them out: config.json, tokenizer.json, and *.safetensors, in shards or
in one. Read from the disk only."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from ...errors import CheckpointError
from ...validation import first_nonfinite
from .base_model import TOKENIZER, Base, read_tokenizer, unfit, with_full_attention
from .quantization import Quantize, keep_differentiable, quantizer
from .shards import bytes_needed, lacking_weights, listed_tensors

CONFIG = "config.json"
MODEL_TYPE = "idefics2"
ADAPTER = ("adapter_config.json", "adapter_model.safetensors")
"""A LoRA's files. transformers lays the LoRA over whatever model lies beside the first, and has no way to leave it."""

Progress = Callable[[int, int], None]
"""Told what is done, and of how much."""


def is_folder(path: Path) -> bool:
    """Whether a base model may be here."""
    return (path / CONFIG).is_file()


def lacking_files(path: Path) -> list[str]:
    """The names of a base model's files that are not here. Raises CheckpointError for an index of shards that cannot be
    read."""
    return [name for name in (CONFIG, TOKENIZER) if not (path / name).is_file()] + lacking_weights(path)


def weigh_folder(path: Path, dtype: torch.dtype, quantize: Quantize = "none") -> int:
    """The bytes that a base model will take, by its files' headers. Raises CheckpointError for what `load_folder`
    refuses before it reads a tensor."""
    _config(path)
    return bytes_needed(listed_tensors(path), dtype, quantize)


def load_folder(
    path: Path,
    base_id: str,
    dtype: torch.dtype = torch.float32,
    quantize: Quantize = "none",
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
) -> Base:
    """Read a base model in `dtype`. Its revision is unknown (""): a folder does not say it.

    quantize: read tensor by tensor into 4 or 8 bits, so that memory never holds more, on `device`, where the model then
    is; without it, it is on the CPU. progress: called with tensors read and tensors in all, and may raise to stop.

    Raises CheckpointError where it is no Idefics2; where a LoRA lies in the same folder; where a file is missing,
    damaged or of other shapes, or has NaN (found before any tensor is read, but for the last two; what is quantised is
    not looked through for NaN); and where bitsandbytes is missing, or does not take the shapes.
    """
    from safetensors import SafetensorError
    from transformers import Idefics2Config, Idefics2ForConditionalGeneration

    config = _config(path)
    tokenizer = read_tokenizer(path / TOKENIZER)
    options = {}
    if quantize != "none":
        options = {"quantization_config": quantizer(quantize, dtype), "device_map": {"": device}}
    try:
        listed_tensors(path)
        with _told(progress):
            model, found = Idefics2ForConditionalGeneration.from_pretrained(
                path,
                config=Idefics2Config(**with_full_attention(config)),
                dtype=dtype,
                local_files_only=True,
                use_safetensors=True,
                output_loading_info=True,
                **options,
            )
    except CheckpointError:
        raise
    except (*unfit(), OSError, ImportError, SafetensorError) as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise
        detail = " ".join(str(error).split()[:40])
        how = "" if quantize == "none" else f" in {quantize}"
        raise CheckpointError(
            f"{path} cannot be read as a base model{how} ({detail}): download its files again"
            f"{'.' if not how else ', or choose another precision.'}"
        ) from error
    # transformers draws at random what a file does not have, and goes on.
    if missing := sorted(found["missing_keys"]):
        raise CheckpointError(
            f"{path} lacks {len(missing)} tensors of its base model (the first is {missing[0]}): download it again."
        )
    if odd := first_nonfinite(model.named_parameters()):
        raise CheckpointError(f"{path} has NaN or infinities (the first in {odd}) in {dtype}: download it again.")
    keep_differentiable(model)
    return Base(model.eval(), tokenizer, base_id, "")


def _config(path: Path) -> dict[str, Any]:
    """The folder's config.json. Raises CheckpointError where it cannot be read or is of another type of model, and
    where a LoRA's files lie beside it."""
    try:
        config = json.loads((path / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(
            f"{path} cannot be read as a base model ({CONFIG}: {error}): download its files again."
        ) from error
    found = config.get("model_type") if isinstance(config, dict) else None
    if found != MODEL_TYPE:
        raise CheckpointError(
            f"{path} holds a model of the type {found!r}, expected {MODEL_TYPE!r}: "
            "choose a folder with an Idefics2 model."
        )
    if os.path.lexists(path / ADAPTER[0]):
        raise CheckpointError(
            f"{path} holds a LoRA's {ADAPTER[0]} beside the base model, which would change all its scores: move "
            f"{' and '.join(ADAPTER)} out of that folder."
        )
    return config


@contextmanager
def _told(progress: Progress | None) -> Iterator[None]:
    """Inside, what transformers would draw as a bar of tensors goes to `progress`; nothing if it has no hook."""
    from transformers.utils import logging

    hook = getattr(logging, "set_tqdm_hook", None)
    if progress is None or hook is None:
        yield
        return

    def bar(_, args: tuple, kwargs: dict) -> Iterable:
        return _counted(args[0] if args else kwargs.get("iterable", ()), progress)

    before = hook(bar)
    try:
        yield
    finally:
        hook(before)


def _counted(items: Iterable, progress: Progress) -> Iterator:
    total = len(items) if hasattr(items, "__len__") else 0
    for done, item in enumerate(items):
        if total:
            progress(done, total)
        yield item
    if total:
        progress(total, total)
