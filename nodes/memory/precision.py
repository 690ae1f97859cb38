"""Chooses the precision of a base model, and checks that it fits into memory before it is loaded."""

from __future__ import annotations

import logging
from collections.abc import Callable

import comfy.model_management
import comfy.utils
import psutil
import torch

from ...prefgen.errors import CheckpointError
from ...prefgen.prefdisc.base.locate import BaseLoadOptions, BaseLocation
from ...prefgen.prefdisc.base.quantization import Quantize

GIB = 2**30
MAX_FLOAT32_BYTES = 2 * GIB
"""Maximum float32 size of a base model that "auto" loads in float32. The limit is our choice."""

AUTO = "auto"
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
QUANTIZED: tuple[Quantize, ...] = ("nf4", "int8")
PRECISIONS = (AUTO, *DTYPES, *QUANTIZED)
"""Options of the node's input `precision`."""

log = logging.getLogger(__name__)


def compute_dtype(precision: str, small: bool) -> torch.dtype:
    """Return the dtype in which a model computes for an option of `PRECISIONS`.

    "auto" means float32 for small models. For other models, "auto" means bfloat16, or float16 on devices without
    bfloat16. The quantised options mean the same for all models.

    Args:
        precision: One of `PRECISIONS`.
        small: Whether the model is small enough for float32.
    """
    if precision in DTYPES:
        return DTYPES[precision]
    if small and precision == AUTO:
        return torch.float32
    device = comfy.model_management.text_encoder_device()
    cpu = comfy.model_management.is_device_cpu(device)
    return torch.bfloat16 if cpu or comfy.model_management.should_use_bf16(device) else torch.float16


def base_load_options(precision: str) -> Callable[[BaseLocation], BaseLoadOptions]:
    """Return a function that chooses how to load a base model in a precision, and frees memory for it.

    The function logs the size of the base model. It raises CheckpointError if the model does not fit into memory.

    Args:
        precision: One of `PRECISIONS`.
    """

    def choose(location: BaseLocation) -> BaseLoadOptions:
        dtype = compute_dtype(precision, location.bytes_needed(torch.float32) <= MAX_FLOAT32_BYTES)
        quantize = precision if precision in QUANTIZED else "none"
        size = location.bytes_needed(dtype, quantize)
        name = quantize if quantize != "none" else str(dtype).removeprefix("torch.")
        log.info("PrefGen is loading %s in %s: %.1f GiB.", location.id, name, size / GIB)
        device = comfy.model_management.text_encoder_device()
        _require_memory(location, size, name, device)
        # bitsandbytes quantises fastest on the device that will use the weights.
        load_device = device if quantize != "none" else torch.device("cpu")
        if not comfy.model_management.is_device_cpu(load_device):
            comfy.model_management.free_memory(size + comfy.model_management.minimum_inference_memory(), load_device)
        return BaseLoadOptions(dtype, quantize, load_device, progress_bar())

    return choose


def progress_bar() -> Callable[[int, int], None]:
    """Return a callback (done, total) that shows a progress bar on the running node and raises on interrupts."""
    bar = comfy.utils.ProgressBar(1)

    def progress(done: int, total: int) -> None:
        comfy.model_management.throw_exception_if_processing_interrupted()
        bar.update_absolute(done, total)

    return progress


def _require_memory(location: BaseLocation, size: int, name: str, device: torch.device) -> None:
    """Raise CheckpointError if a base model does not fit into memory. Warn if it must be streamed from CPU memory."""
    memories = [("memory", psutil.virtual_memory().available + psutil.swap_memory().free)]
    if not comfy.model_management.is_device_cpu(device):
        total = comfy.model_management.get_total_memory(device) - comfy.model_management.minimum_inference_memory()
        memories.append((f"memory of {device}", total))
    for memory, free in memories:
        if size <= free:
            continue
        shortage = (
            f"{location.id} needs {size / GIB:.1f} GiB in {name}; {free / GIB:.1f} GiB of {memory} are available."
        )
        other = f"Other precisions: {_other_precisions(location, name)}."
        if memory == "memory" or name in QUANTIZED:  # quantised layers cannot be streamed
            raise CheckpointError(f"{shortage} Choose another precision, or close other programs. {other}")
        log.warning("PrefGen: %s A part stays in CPU memory, which is slow. %s", shortage, other)


def _other_precisions(location: BaseLocation, name: str) -> str:
    """List the other precisions with their sizes."""
    sizes = {"bfloat16": location.bytes_needed(torch.bfloat16)} | {
        other: location.bytes_needed(torch.bfloat16, other) for other in QUANTIZED if location.path.is_dir()
    }
    return ", ".join(f"{other} {size / GIB:.1f} GiB" for other, size in sizes.items() if other != name)
