"""One measured row: what ran, how long, beside the limit of the device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import torch

from benchmarks.full_size.device import GIB, Device

PATIENCE = 6
"""A single unit of a row may take so many times the seconds that were given (default ours)."""

ROUGH = 3.0
"""How much slower than its limit a piece of work is taken to be, to decide how much of it is begun (default ours)."""


@dataclass(frozen=True)
class Workload:
    """One piece of work of a row.

    flops, bytes: what it cannot be done without (see arithmetic.py), and what must be read of the memory at least: the
    weights, once a forward. tokens: that go through the decoder, 0 where that is no measure. description: in words.
    before: what is made ready for it, untimed.
    """

    run: Callable[[], object]
    flops: float
    bytes: float
    tokens: int = 0
    description: str = ""
    prepare: Callable[[], object] = bool


def roofline_seconds(device: Device, work: Workload) -> float:
    """Seconds below which the machine cannot do it."""
    return max(work.flops / device.matmul_rate(device.dtype), work.bytes / device.bandwidth())


def measure_row(
    device: Device, name: str, precision: str, work: Workload, whole: Workload, repeats: int, warm: bool
) -> dict:
    """A row. whole: the work in full, of which `work` may be a part. warm: run it once before it is timed; where one
    run takes minutes, the first is the one."""
    try:
        with device.limit_memory():
            work.prepare()
            with device.track_peak_memory():
                if warm:
                    device.timed(work.run)
                seconds = median(device.timed(work.run) for _ in range(repeats))
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        return skipped_row(device, name, precision, whole, f"ran out of memory with {work.description}", None)
    least = roofline_seconds(device, work)
    part = work.flops != whole.flops
    return {
        "row": name,
        "precision": precision,
        "ran": work.description,
        "part_of": whole.description if part else None,
        "seconds": round(seconds, 4),
        "tokens_per_s": round(work.tokens / seconds, 2) if work.tokens else None,
        "peak_gib": round(device.peak / GIB, 3),
        "tflop": round(work.flops / 1e12, 4),
        "limit_s": round(least, 5),
        "limited_by": "flops" if work.flops / device.matmul_rate(device.dtype) >= least else "bytes",
        "ratio": round(least / seconds, 4),
        "estimated_whole_s": round(seconds * roofline_seconds(device, whole) / least, 1) if part else None,
    }


def out_of_memory(error: Exception) -> bool:
    """Whether this is an allocator's."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "allocate memory" in str(error)


def skipped_row(
    device: Device, name: str, precision: str, whole: Workload | None, why: str, needs: float | None
) -> dict:
    """A row that was not run: why, and, where memory is why, the GiB that it needs."""
    found = {"row": name, "precision": precision, "not_run": why}
    if needs is not None:
        found["needs_gib"] = round(needs, 1)
    if whole is not None:
        found["limit_s"] = round(roofline_seconds(device, whole), 3)
    return found


def units_within(device: Device, one: Workload, most: int, seconds: float) -> int:
    """How many units of work of a row are begun, so that it ends in about so many seconds. 0: not even one in a few
    times that."""
    begun = seconds / (ROUGH * roofline_seconds(device, one))
    return 0 if begun < 1 / PATIENCE else max(1, min(most, int(begun)))
