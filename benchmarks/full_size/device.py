"""Measures a device: FLOP/s, memory bandwidth, free memory and peak memory."""

from __future__ import annotations

import gc
import platform
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache

import psutil
import torch

GIB = 2**30
HEADROOM = 1.5 * GIB
"""Bytes of memory that are left for other processes. The amount is our choice."""
SMALL_SIDE = 512
MAX_PRODUCT_SECONDS = 0.5
"""Maximum seconds for one matrix product; slower devices use smaller matrices. The limit is our choice."""


@dataclass
class Device:
    """A device to measure.

    Attributes:
        torch_device: The device.
        cap: Memory limit of this process in bytes; None for no limit.
        peak: Peak memory in bytes during the last `track_peak_memory` block.
    """

    torch_device: torch.device
    cap: int | None = None
    peak: int = field(default=0, init=False)

    @property
    def cuda(self) -> bool:
        """Return whether this is a GPU."""
        return self.torch_device.type == "cuda"

    @property
    def name(self) -> str:
        """Return the name of the device for tables."""
        if self.cuda:
            return torch.cuda.get_device_name(self.torch_device)
        return f"{_processor()}, {torch.get_num_threads()} threads"

    @property
    def dtype(self) -> torch.dtype:
        """Return the dtype in which full-size models are measured."""
        return torch.bfloat16

    def sync(self) -> None:
        """Wait for all work on the device."""
        if self.cuda:
            torch.cuda.synchronize(self.torch_device)

    def memory_in_use(self) -> int:
        """Return the bytes of device memory that this process uses now."""
        return torch.cuda.memory_allocated(self.torch_device) if self.cuda else psutil.Process().memory_info().rss

    def free(self) -> int:
        """Return the bytes that may still be allocated, leaving headroom for other processes."""
        gc.collect()
        if self.cuda:
            torch.cuda.empty_cache()
            free = torch.cuda.mem_get_info(self.torch_device)[0] - HEADROOM
        else:
            free = psutil.virtual_memory().available - HEADROOM
        return int(free if self.cap is None else min(free, self.cap - self.memory_in_use()))

    @contextmanager
    def limit_memory(self) -> Iterator[None]:
        """Limit the memory of this process to `free()` inside the block; larger allocations raise out-of-memory errors.

        On CPUs this works on Linux only; other systems have no limit.
        """
        if self.cuda:
            total = torch.cuda.get_device_properties(self.torch_device).total_memory
            torch.cuda.set_per_process_memory_fraction(
                min(1.0, (self.memory_in_use() + self.free()) / total), self.torch_device
            )
            yield
            return
        try:
            import resource

            with open("/proc/self/status") as file:
                data = next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmData"))
        except (ImportError, OSError, StopIteration):
            yield
            return
        before = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (data + max(self.free(), 0), before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_DATA, before)

    @contextmanager
    def track_peak_memory(self) -> Iterator[None]:
        """Record the block's peak memory in `peak`: the allocator's memory on a GPU, the resident set on a CPU."""
        self.sync()
        self.peak = self.memory_in_use()
        if self.cuda:
            torch.cuda.reset_peak_memory_stats(self.torch_device)
            yield
            self.sync()
            self.peak = torch.cuda.max_memory_allocated(self.torch_device)
            return
        done = threading.Event()

        def sample() -> None:
            while not done.wait(0.005):
                self.peak = max(self.peak, self.memory_in_use())

        watcher = threading.Thread(target=sample, daemon=True)
        watcher.start()
        try:
            yield
        finally:
            done.set()
            watcher.join()
            self.peak = max(self.peak, self.memory_in_use())

    def timed(self, work: Callable[[], object]) -> float:
        """Return how many seconds `work` takes, including its computations on the device."""
        self.sync()
        start = time.perf_counter()
        work()
        self.sync()
        return time.perf_counter() - start

    def matmul_rate(self, dtype: torch.dtype) -> float:
        """Measure FLOP/s with large square matrix products, and return the best result."""
        return _matmul_rate(self.torch_device, dtype)

    def bandwidth(self) -> float:
        """Measure memory bandwidth in bytes per second (read and written) with large copies; return the best result."""
        return _bandwidth(self.torch_device)


@lru_cache
def _matmul_rate(torch_device: torch.device, dtype: torch.dtype) -> float:
    side, repeats = (8192, 10) if torch_device.type == "cuda" else (2048, 16)
    device = Device(torch_device)
    # Without instructions for half precision, a processor takes up to a minute for one bfloat16 product of this size.
    small = torch.randn(SMALL_SIDE, SMALL_SIDE, device=torch_device).to(dtype)
    device.timed(lambda: small @ small)
    while side > SMALL_SIDE and device.timed(lambda: small @ small) * (side / SMALL_SIDE) ** 3 > MAX_PRODUCT_SECONDS:
        side //= 2
    a, b = torch.randn(2, side, side, device=torch_device).to(dtype)
    device.timed(lambda: a @ b)
    return 2 * side**3 / min(device.timed(lambda: a @ b) for _ in range(repeats))


@lru_cache
def _bandwidth(torch_device: torch.device) -> float:
    size = 2 * GIB if torch_device.type == "cuda" else GIB // 4
    source, target = torch.zeros(2, size, dtype=torch.uint8, device=torch_device)
    device = Device(torch_device)
    device.timed(lambda: target.copy_(source))
    return 2 * size / min(device.timed(lambda: target.copy_(source)) for _ in range(5))


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            return next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def choose_device(wanted: str) -> torch.device:
    """Return the torch device. "auto" is the current GPU, or the CPU if there is no GPU."""
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device("cuda", torch.cuda.current_device()) if wanted == "cuda" else torch.device(wanted)
