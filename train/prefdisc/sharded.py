"""Gathers parameters that are sharded over processes (FSDP, ZeRO-3), and writes full tensors into them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


def gather_full_tensors(parameters: Iterable[Tensor], read: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """Return the tensors of `read` as full tensors on the CPU. All processes must call this.

    Args:
        parameters: The parameters that `read` accesses.
        read: Function that returns named tensors.
    """
    with _gather(list(parameters)):
        return {name: _full_tensor(tensor).detach().cpu().clone() for name, tensor in read().items()}


@torch.no_grad()
def copy_full_tensor(parameter: Tensor, value: Tensor) -> None:
    """Copy a full tensor into a parameter, or into this process's shard of it. All processes must call this."""
    from torch.distributed.tensor import DTensor, distribute_tensor

    value = value.to(parameter.device, parameter.dtype)
    if isinstance(parameter, DTensor):
        value = distribute_tensor(value, parameter.device_mesh, parameter.placements)
    parameter.copy_(value)


def _full_tensor(tensor: Tensor) -> Tensor:
    from torch.distributed.tensor import DTensor

    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


@contextmanager
def _gather(parameters: list[Tensor]) -> Iterator[None]:
    """Gather ZeRO-3 parameters, whose tensors are empty outside this context."""
    if not any(hasattr(parameter, "ds_id") for parameter in parameters):
        yield
        return
    import deepspeed

    with deepspeed.zero.GatheredParameters(parameters):
        yield
