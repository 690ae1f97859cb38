"""Distributes work among the processes that `accelerate launch` started."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

from ..validation import errors_as, requiring_package
from .errors import CommandError

if TYPE_CHECKING:
    import torch
    from accelerate import PartialState

TIMEOUT = timedelta(days=30)
"""Time that processes wait for the slowest one. torch's default of ten minutes is too short for a million images."""

Item = TypeVar("Item")


@dataclass(frozen=True)
class Processes:
    """This process in its group; created by `join_processes`."""

    state: PartialState

    @property
    def device(self) -> torch.device:
        """Device of this process."""
        return self.state.device

    @property
    def is_main(self) -> bool:
        """True in the process that shows progress and writes the output."""
        return self.state.is_main_process

    @property
    def rank(self) -> int:
        """Index of this process, from 0."""
        return self.state.process_index

    def shard(self, items: Sequence[Item]) -> Sequence[Item]:
        """Return this process's shard of `items`, which must be the same in all processes.

        A shard is contiguous, so that neighbouring rows of a file are read together. Shard sizes differ by at most one.
        """
        count = self.state.num_processes
        return items[len(items) * self.rank // count : len(items) * (self.rank + 1) // count]

    def wait(self) -> None:
        """Wait until every process has arrived.

        Raises:
            CommandError: Another process has ended. Finished work is kept.
        """
        problem = f"Process {self.rank} of {self.state.num_processes} lost another process"
        advice = "Finished work is kept. Run the same command again."
        with errors_as(CommandError, problem, advice, RuntimeError):  # the type that both gloo and NCCL raise
            self.state.wait_for_everyone()


def join_processes(device: str | None = None) -> Processes:
    """Join the group of processes, or form a group of one if nothing launched this process.

    Args:
        device: "cpu" to keep off accelerators.
    """
    with requiring_package("accelerate", "This command", CommandError):
        from accelerate import PartialState

    return Processes(PartialState(cpu=device == "cpu", timeout=TIMEOUT))
