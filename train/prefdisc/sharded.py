"""Parameters that lie in pieces on many processes (FSDP, ZeRO-3): read whole, and filled from whole ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


def whole(parameters: Iterable[Tensor], read: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """What `read` takes of these parameters, each whole, on the CPU. Every process has to ask, all at once."""
    with _gathered(list(parameters)):
        return {name: _whole(tensor).detach().cpu().clone() for name, tensor in read().items()}


@torch.no_grad()
def fill(parameter: Tensor, value: Tensor) -> None:
    """Copy a whole value into a parameter, or into this process's piece of it. Every process has to, all at once."""
    from torch.distributed.tensor import DTensor, distribute_tensor

    value = value.to(parameter.device, parameter.dtype)
    if isinstance(parameter, DTensor):
        value = distribute_tensor(value, parameter.device_mesh, parameter.placements)
    parameter.copy_(value)


def _whole(tensor: Tensor) -> Tensor:
    from torch.distributed.tensor import DTensor

    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


@contextmanager
def _gathered(parameters: list[Tensor]) -> Iterator[None]:
    """ZeRO-3 leaves empty tensors behind, but for as long as it is asked for them."""
    if not any(hasattr(parameter, "ds_id") for parameter in parameters):
        yield
        return
    import deepspeed

    with deepspeed.zero.GatheredParameters(parameters):
        yield
