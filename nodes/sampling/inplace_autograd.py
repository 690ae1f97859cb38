"""What is written in place, differentiated. Flux's blocks are made for inference and add to what their own norms keep
for a gradient; so does every UNet where it adds what a ControlNet made, and so do patches on a MODEL (FreeU, normalised
attention guidance)."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
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


class OwnSlices(TorchFunctionMode):
    """Inside, `x[i]` is a copy and no view: writing to x afterwards leaves alone what a product kept of the slice."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        found = func(*args, **(kwargs or {}))
        return found.clone() if func is Tensor.__getitem__ else found


def patches_out_of_place(model_options: dict) -> dict:
    """The same options with patches that leave what they are given as it is, and may write to copies of it."""
    options = model_options.get("transformer_options", {})
    patches = {name: [_patch(one) for one in every] for name, every in options.get("patches", {}).items()}
    return model_options | {"transformer_options": options | {"patches": patches}}


def _patch(patch: Callable) -> Callable:
    def run(*args, **kwargs):
        with OwnSlices():
            return patch(*(x.clone() if isinstance(x, Tensor) else x for x in args), **kwargs)

    return run
