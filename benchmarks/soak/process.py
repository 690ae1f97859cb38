"""Reads the resident memory and the number of open files of a process from /proc."""

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Process:
    """A running process."""

    pid: int

    def resident_mib(self) -> float:
        """Return the resident memory in MiB."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

    def open_files(self) -> int:
        """Return the number of open file descriptors."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))


def server_process(guard: int) -> Process:
    """Return ComfyUI's process, which is the child of the guard process that the tests start."""
    (child,) = Path(f"/proc/{guard}/task/{guard}/children").read_text().split()
    return Process(int(child))
