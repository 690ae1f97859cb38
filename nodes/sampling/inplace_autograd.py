"""Makes in-place operations differentiable.

Flux's blocks are written for inference and overwrite values that their own norms need for the gradient. UNets that add
the output of a ControlNet do the same, and so do some patches on a MODEL (FreeU V2, normalised attention guidance).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

INPLACE_MODULES = "comfy.ldm.flux."
"""Prefix of core's modules whose blocks need this. Other models stay as they are: some rely on in-place operations."""

_FUNCTIONAL = {
    torch.Tensor.add_: torch.add,
    torch.Tensor.sub_: torch.sub,
    torch.Tensor.mul_: torch.mul,
    torch.Tensor.div_: torch.div,
}


def functional_inplace_ops(module: nn.Module, has_controlnet: bool = False) -> AbstractContextManager:
    """Return a context in which a model or block can be differentiated.

    Args:
        module: The model or block.
        has_controlnet: Whether the model adds the outputs of a ControlNet to its activations.
    """
    needed = has_controlnet or any(type(part).__module__.startswith(INPLACE_MODULES) for part in module.modules())
    return FunctionalInplaceOps() if needed else nullcontext()


class FunctionalInplaceOps(TorchFunctionMode):
    """Replaces in-place arithmetic: `x += y` (`x.add_(y)` in torch) binds x to a new tensor and keeps the old one."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        functional = _FUNCTIONAL.get(func)
        if functional is None:
            return func(*args, **(kwargs or {}))
        return functional(*args, **(kwargs or {})).to(args[0].dtype)


class CloneSlices(TorchFunctionMode):
    """Makes `x[i]` a copy instead of a view, so that later writes to x do not change values saved for the gradient."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        return result.clone() if func is Tensor.__getitem__ else result


def protect_patch_inputs(model_options: dict) -> dict:
    """Return model options whose patches work on copies of their inputs."""
    options = model_options.get("transformer_options", {})
    patches = {name: [_run_on_copies(patch) for patch in group] for name, group in options.get("patches", {}).items()}
    return model_options | {"transformer_options": options | {"patches": patches}}


def _run_on_copies(patch: Callable) -> Callable:
    def run(*args, **kwargs):
        with CloneSlices():
            return patch(*(x.clone() if isinstance(x, Tensor) else x for x in args), **kwargs)

    return run
