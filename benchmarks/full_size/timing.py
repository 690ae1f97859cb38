"""Times a workload, and compares it with the roofline limit of the device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import torch

from benchmarks.full_size.device import GIB, Device

PATIENCE = 6
"""A single unit of a row may take up to this multiple of --seconds. The factor is our choice."""

ASSUMED_SLOWDOWN = 3.0
"""Assumed ratio of time to roofline limit, used to decide how much of a row to run. The value is our choice."""


@dataclass(frozen=True)
class Workload:
    """Work to time.

    Attributes:
        run: Runs the work.
        flops: Required floating point operations (see flops.py).
        bytes: Minimum number of bytes to read: the weights, once for each forward pass.
        tokens: Number of tokens that pass through the decoder, or 0 if not applicable.
        description: Description of the work.
        prepare: Untimed preparation.
    """

    run: Callable[[], object]
    flops: float
    bytes: float
    tokens: int = 0
    description: str = ""
    prepare: Callable[[], object] = bool


def roofline_seconds(device: Device, work: Workload) -> float:
    """Return the roofline limit: the larger of compute time and memory time, in seconds."""
    return max(work.flops / device.matmul_rate(device.dtype), work.bytes / device.bandwidth())


def measure_row(
    device: Device, name: str, precision: str, work: Workload, whole: Workload, repeats: int, warm: bool
) -> dict:
    """Time a workload.

    Args:
        device: The device.
        name: Name of the row.
        precision: Precision, for the table.
        work: The workload.
        whole: The whole workload, of which `work` may be a part.
        repeats: Number of timed runs.
        warm: Whether to run once before timing.

    Returns:
        The row as JSON values.
    """
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
    limit = roofline_seconds(device, work)
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
        "limit_s": round(limit, 5),
        "limited_by": "flops" if work.flops / device.matmul_rate(device.dtype) >= limit else "bytes",
        "ratio": round(limit / seconds, 4),
        "estimated_whole_s": round(seconds * roofline_seconds(device, whole) / limit, 1) if part else None,
    }


def out_of_memory(error: Exception) -> bool:
    """Return whether an error means that memory ran out."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "allocate memory" in str(error)


def skipped_row(
    device: Device, name: str, precision: str, whole: Workload | None, why: str, needs: float | None
) -> dict:
    """Return a row that was not run, with the reason and, if there is not enough memory, the required GiB."""
    row = {"row": name, "precision": precision, "not_run": why}
    if needs is not None:
        row["needs_gib"] = round(needs, 1)
    if whole is not None:
        row["limit_s"] = round(roofline_seconds(device, whole), 3)
    return row


def units_within(device: Device, one: Workload, most: int, seconds: float) -> int:
    """Return how many units of work take about `seconds`; 0 if one unit takes more than `PATIENCE` times as long."""
    count = seconds / (ASSUMED_SLOWDOWN * roofline_seconds(device, one))
    return 0 if count < 1 / PATIENCE else max(1, min(most, int(count)))
