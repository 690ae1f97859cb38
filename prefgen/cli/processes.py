"""This process among those that `accelerate launch` started: its share of the work, and waiting for the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

from .errors import OfflineError

if TYPE_CHECKING:
    import torch
    from accelerate import PartialState

PATIENCE = timedelta(days=30)
"""How long processes wait for the slowest one; torch's own ten minutes are less than a share of a million images."""

Item = TypeVar("Item")


@dataclass(frozen=True)
class Processes:
    """One process. Made by `join`."""

    state: PartialState

    @property
    def device(self) -> torch.device:
        """What this process computes on."""
        return self.state.device

    @property
    def is_main(self) -> bool:
        """The one that shows progress and puts the output together."""
        return self.state.is_main_process

    @property
    def rank(self) -> int:
        """Its number, from 0."""
        return self.state.process_index

    def share(self, items: Sequence[Item]) -> Sequence[Item]:
        """This process's part of `items`, the same everywhere: one stretch, so that neighbours in a file are read
        together. Parts differ in length by one at most."""
        count = self.state.num_processes
        return items[len(items) * self.rank // count : len(items) * (self.rank + 1) // count]

    def wait(self) -> None:
        """Until every process is here. Raises OfflineError where one has ended: what it did is kept."""
        try:
            self.state.wait_for_everyone()
        except RuntimeError as error:  # gloo's and NCCL's: both say it in this type
            raise OfflineError(
                f"Process {self.rank} of {self.state.num_processes} found another one gone "
                f"({' '.join(str(error).split()[:20])}): what all have done is kept, give the same command again."
            ) from error


def join(device: str | None = None) -> Processes:
    """Take this process's place; alone where nothing launched it. device: "cpu" to stay off accelerators."""
    from accelerate import PartialState

    return Processes(PartialState(cpu=device == "cpu", timeout=PATIENCE))
