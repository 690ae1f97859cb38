"""Gradient checkpointing: a model's blocks keep nothing for the backward pass, and run once more in it.

Through core's object patches, on a clone: the MODEL and VAE that others hold stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from comfy.model_patcher import ModelPatcher
from torch import nn
from torch.utils.checkpoint import checkpoint

from .inplace_autograd import out_of_place


class Recomputed:
    """A block's forward that is run again in the backward pass.

    The dictionaries it is given (core's transformer_options, which say what block this is) are kept as they were at the
    first run: core writes the next block's into the same ones.
    """

    def __init__(self, block: nn.Module) -> None:
        self.block = block
        forward = block.forward
        # A run that was interrupted has left its own behind.
        self.forward = forward.forward if isinstance(forward, Recomputed) else forward

    def __call__(self, *args, **kwargs):
        if not torch.is_grad_enabled():
            return self.forward(*args, **kwargs)
        live = [kwargs]
        kept = _own(kwargs)

        def run(*args):
            options = live.pop() if live else _own(kept)
            with out_of_place(self.block):
                return self.forward(*args, **options)

        return checkpoint(run, *args, use_reentrant=False, preserve_rng_state=False)


def checkpointed(patcher: ModelPatcher) -> ModelPatcher:
    """A clone whose blocks are recomputed in a backward pass; its weights are the same."""
    clone = patcher.clone()
    for name, block in blocks(patcher.model):
        clone.add_object_patch(f"{name}.forward", Recomputed(block))
    return clone


def blocks(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The innermost members of a model's lists of blocks, with their names: SDXL's residual and transformer blocks,
    Flux's streams, the residual blocks of a VAE."""
    for name, module in model.named_modules():
        for child, member in module.named_children() if _is_list(module) else ():
            if next(member.parameters(), None) is not None and not any(map(_is_list, member.modules())):
                yield f"{name}.{child}", member


def _is_list(module: nn.Module) -> bool:
    # Core's own kind of nn.Sequential hands the time embedding on; a plain one is a part of a block.
    return isinstance(module, nn.ModuleList) or (
        isinstance(module, nn.Sequential) and type(module) is not nn.Sequential
    )


def _own(options: dict) -> dict:
    return {name: dict(value) if isinstance(value, dict) else value for name, value in options.items()}
