"""What core adds in place, differentiated: Flux's blocks are written for inference and add to what their own norms keep
for a gradient, and so does every UNet where it adds what a ControlNet made."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

WRITING = "comfy.ldm.flux."
"""Where core's blocks that do so come from. Models of other blocks are left alone: some mean what they write."""

_NEW = {
    torch.Tensor.add_: torch.add,
    torch.Tensor.sub_: torch.sub,
    torch.Tensor.mul_: torch.mul,
    torch.Tensor.div_: torch.div,
}


def out_of_place(module: nn.Module, controlled: bool = False) -> AbstractContextManager:
    """What to run a model or block in while it is differentiated. controlled: a ControlNet adds to it."""
    writes = controlled or any(type(part).__module__.startswith(WRITING) for part in module.modules())
    return OutOfPlace() if writes else nullcontext()


class OutOfPlace(TorchFunctionMode):
    """Inside, `x += y`, which torch calls as `x.add_(y)`, binds x to a new tensor and leaves the old one as it is."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        new = _NEW.get(func)
        if new is None:
            return func(*args, **(kwargs or {}))
        return new(*args, **(kwargs or {})).to(args[0].dtype)
