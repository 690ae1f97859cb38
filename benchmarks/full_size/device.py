"""The device: what its device multiplies and moves a second, what is free, and what a piece of work held at most."""

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
"""Left to everybody else (default ours)."""


@dataclass
class Device:
    """One device to compute on. cap: bytes this process may hold at most, of what is there; None for all of it."""

    torch_device: torch.device
    cap: int | None = None
    peak: int = field(default=0, init=False)

    @property
    def cuda(self) -> bool:
        return self.torch_device.type == "cuda"

    @property
    def name(self) -> str:
        """The device's name, as a table says it."""
        if self.cuda:
            return torch.cuda.get_device_name(self.torch_device)
        return f"{_processor()}, {torch.get_num_threads()} threads"

    @property
    def dtype(self) -> torch.dtype:
        """What full-size models compute in."""
        return torch.bfloat16

    def sync(self) -> None:
        """Wait until what was asked of the device is done."""
        if self.cuda:
            torch.cuda.synchronize(self.torch_device)

    def memory_in_use(self) -> int:
        """Bytes that this process holds of the device's memory now."""
        return torch.cuda.memory_allocated(self.torch_device) if self.cuda else psutil.Process().memory_info().rss

    def free(self) -> int:
        """Bytes that may be taken still, with room left for others."""
        gc.collect()
        if self.cuda:
            torch.cuda.empty_cache()
            free = torch.cuda.mem_get_info(self.torch_device)[0] - HEADROOM
        else:
            free = psutil.virtual_memory().available - HEADROOM
        return int(free if self.cap is None else min(free, self.cap - self.memory_in_use()))

    @contextmanager
    def limit_memory(self) -> Iterator[None]:
        """Inside, this process cannot take more than `free` says: what asks for more gets torch's error for too little
        memory, and nobody else suffers. Where the system knows no such limit (it is Linux's), nothing is held."""
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
        """Inside, `peak` follows what the process holds at most: the allocator's own count on a GPU, and on a CPU the
        resident set, looked at every few milliseconds."""
        self.sync()
        self.peak = self.memory_in_use()
        if self.cuda:
            torch.cuda.reset_peak_memory_stats(self.torch_device)
            yield
            self.sync()
            self.peak = torch.cuda.max_memory_allocated(self.torch_device)
            return
        done = threading.Event()

        def look() -> None:
            while not done.wait(0.005):
                self.peak = max(self.peak, self.memory_in_use())

        watcher = threading.Thread(target=look, daemon=True)
        watcher.start()
        try:
            yield
        finally:
            done.set()
            watcher.join()
            self.peak = max(self.peak, self.memory_in_use())

    def timed(self, work: Callable[[], object]) -> float:
        """Seconds that `work` takes, to its end on the device."""
        self.sync()
        began = time.perf_counter()
        work()
        self.sync()
        return time.perf_counter() - began

    def matmul_rate(self, dtype: torch.dtype) -> float:
        """Multiplications and additions a second of the best of a few large square products: the arithmetic limit."""
        return _matmul_rate(self.torch_device, dtype)

    def bandwidth(self) -> float:
        """Bytes a second read and written by the best of a few large copies."""
        return _bandwidth(self.torch_device)


@lru_cache
def _matmul_rate(device: torch.device, dtype: torch.dtype) -> float:
    side, repeats = (8192, 10) if device.type == "cuda" else (2048, 16)
    a, b = torch.randn(2, side, side, device=device).to(dtype)
    device = Device(device)
    device.timed(lambda: a @ b)
    return 2 * side**3 / min(device.timed(lambda: a @ b) for _ in range(repeats))


@lru_cache
def _bandwidth(device: torch.device) -> float:
    size = 2 * GIB if device.type == "cuda" else GIB // 4
    source, target = torch.zeros(2, size, dtype=torch.uint8, device=device)
    device = Device(device)
    device.timed(lambda: target.copy_(source))
    return 2 * size / min(device.timed(lambda: target.copy_(source)) for _ in range(5))


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            return next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def choose_device(wanted: str) -> torch.device:
    """auto: the first GPU, or the CPU."""
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device("cuda", torch.cuda.current_device()) if wanted == "cuda" else torch.device(wanted)
