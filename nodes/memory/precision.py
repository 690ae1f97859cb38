"""What a base model takes, in what precision it is read, and whether there is room: said before gigabytes are read."""

from __future__ import annotations

import logging
from collections.abc import Callable

import comfy.model_management
import comfy.utils
import psutil
import torch

from ...prefgen.errors import CheckpointError
from ...prefgen.prefdisc.base.locate import BasePlace, BaseReading
from ...prefgen.prefdisc.base.quantization import Quantize

GIB = 2**30
SMALL = 2 * GIB
"""Bytes in float32 up to which a base is not worth rounding: auto reads it whole (default ours)."""

AUTO = "auto"
TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
QUANTIZED: tuple[Quantize, ...] = ("nf4", "int8")
PRECISIONS = (AUTO, *TYPES, *QUANTIZED)
"""What a person can choose."""

log = logging.getLogger(__name__)


def precision_of(choice: str, small: bool) -> torch.dtype:
    """What to compute in. Auto, and where weights are quantised: bfloat16, or float16 on a device that has no bfloat16;
    but float32 for a `small` base that is not."""
    if choice in TYPES:
        return TYPES[choice]
    if small and choice == AUTO:
        return torch.float32
    device = comfy.model_management.text_encoder_device()
    cpu = comfy.model_management.is_device_cpu(device)
    return torch.bfloat16 if cpu or comfy.model_management.should_use_bf16(device) else torch.float16


def reading_of(choice: str) -> Callable[[BasePlace], BaseReading]:
    """How a base is read in the precision that was chosen.

    What this gives logs what the base takes and makes room for it. Raises CheckpointError where there cannot be enough.
    """

    def reading(place: BasePlace) -> BaseReading:
        dtype = precision_of(choice, place.size(torch.float32) <= SMALL)
        quantize = choice if choice in QUANTIZED else "none"
        size = place.size(dtype, quantize)
        name = quantize if quantize != "none" else str(dtype).removeprefix("torch.")
        log.info("PrefGen reads %s in %s, which takes %.1f GiB.", place.id, name, size / GIB)
        device = comfy.model_management.text_encoder_device()
        _require_room(place, size, name, device)
        # bitsandbytes quantises where the weights will be used, which is much faster there.
        where = device if quantize != "none" else torch.device("cpu")
        if not comfy.model_management.is_device_cpu(where):
            comfy.model_management.free_memory(size + comfy.model_management.minimum_inference_memory(), where)
        return BaseReading(dtype, quantize, where, progress_bar())

    return reading


def progress_bar() -> Callable[[int, int], None]:
    """A bar over the node that runs, told what is done and of how much; an interrupt ends what tells it."""
    bar = comfy.utils.ProgressBar(1)

    def progress(done: int, total: int) -> None:
        comfy.model_management.throw_exception_if_processing_interrupted()
        bar.update_absolute(done, total)

    return progress


def _require_room(place: BasePlace, size: int, name: str, device: torch.device) -> None:
    free = psutil.virtual_memory().available + psutil.swap_memory().free
    if size > free:
        raise CheckpointError(
            f"{place.id} takes {size / GIB:.1f} GiB in {name}, and {free / GIB:.1f} GiB of memory are free: close "
            f"other programs, or choose another precision ({_others(place, name)})."
        )
    if comfy.model_management.is_device_cpu(device):
        return
    total = comfy.model_management.get_total_memory(device) - comfy.model_management.minimum_inference_memory()
    if size <= total:
        return
    # Quantised layers cannot be handed in one by one.
    if name in QUANTIZED:
        raise CheckpointError(
            f"{place.id} takes {size / GIB:.1f} GiB in {name}, and {device} has room for {total / GIB:.1f} GiB: choose "
            f"another precision ({_others(place, name)}; bfloat16 is offloaded in part)."
        )
    log.warning(
        "PrefGen: %s takes %.1f GiB in %s and %s has room for %.1f GiB: a part of it stays in the machine's memory, "
        "which is slow. Other precisions: %s.",
        *(place.id, size / GIB, name, device, total / GIB, _others(place, name)),
    )


def _others(place: BasePlace, name: str) -> str:
    """The other precisions, with what they take."""
    sizes = {"bfloat16": place.size(torch.bfloat16)} | {
        other: place.size(torch.bfloat16, other) for other in QUANTIZED if place.path.is_dir()
    }
    return ", ".join(f"{other} {size / GIB:.1f} GiB" for other, size in sizes.items() if other != name)
