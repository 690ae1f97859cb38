"""One measured row: what ran, how long, beside the limit of the machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import torch

from benchmarks.full_size.machine import GIB, Machine

PATIENCE = 6
"""A single unit of a row may take so many times the seconds that were given (default ours)."""

ROUGH = 3.0
"""How much slower than its limit a piece of work is taken to be, to decide how much of it is begun (default ours)."""


@dataclass(frozen=True)
class Work:
    """One piece of work of a row.

    flops, bytes: what it cannot be done without (see arithmetic.py), and what must be read of the memory at least: the
    weights, once a forward. tokens: that go through the decoder, 0 where that is no measure. said: in words.
    before: what is made ready for it, untimed.
    """

    run: Callable[[], object]
    flops: float
    bytes: float
    tokens: int = 0
    said: str = ""
    before: Callable[[], object] = bool


def limit(machine: Machine, work: Work) -> float:
    """Seconds below which the machine cannot do it."""
    return max(work.flops / machine.matmul_rate(machine.dtype), work.bytes / machine.bandwidth())


def measured(machine: Machine, name: str, precision: str, work: Work, whole: Work, repeats: int, warm: bool) -> dict:
    """A row. whole: the work in full, of which `work` may be a part. warm: run it once before it is timed; where one
    run takes minutes, the first is the one."""
    try:
        with machine.held_within():
            work.before()
            with machine.watched():
                if warm:
                    machine.timed(work.run)
                seconds = median(machine.timed(work.run) for _ in range(repeats))
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        return left_out(machine, name, precision, whole, f"ran out of memory with {work.said}", None)
    least = limit(machine, work)
    part = work.flops != whole.flops
    return {
        "row": name,
        "precision": precision,
        "ran": work.said,
        "part_of": whole.said if part else None,
        "seconds": round(seconds, 4),
        "tokens_per_s": round(work.tokens / seconds, 2) if work.tokens else None,
        "peak_gib": round(machine.peak / GIB, 3),
        "tflop": round(work.flops / 1e12, 4),
        "limit_s": round(least, 5),
        "limited_by": "flops" if work.flops / machine.matmul_rate(machine.dtype) >= least else "bytes",
        "ratio": round(least / seconds, 4),
        "estimated_whole_s": round(seconds * limit(machine, whole) / least, 1) if part else None,
    }


def out_of_memory(error: Exception) -> bool:
    """Whether this is an allocator's."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "allocate memory" in str(error)


def left_out(machine: Machine, name: str, precision: str, whole: Work | None, why: str, needs: float | None) -> dict:
    """A row that was not run: why, and, where memory is why, the GiB that it needs."""
    found = {"row": name, "precision": precision, "not_run": why}
    if needs is not None:
        found["needs_gib"] = round(needs, 1)
    if whole is not None:
        found["limit_s"] = round(limit(machine, whole), 3)
    return found


def most_that_fit(machine: Machine, one: Work, most: int, seconds: float) -> int:
    """How many units of work of a row are begun, so that it ends in about so many seconds. 0: not even one in a few
    times that."""
    begun = seconds / (ROUGH * limit(machine, one))
    return 0 if begun < 1 / PATIENCE else max(1, min(most, int(begun)))
