"""Gradient checkpointing: blocks save no activations for the backward pass, but run again during it.

This uses core's object patches on a clone, so other nodes with the same MODEL or VAE are not affected.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from comfy.model_patcher import ModelPatcher
from torch import nn
from torch.utils.checkpoint import checkpoint

from .inplace_autograd import functional_inplace_ops


class CheckpointedForward:
    """A block's forward method that runs again during the backward pass.

    Dictionaries among its arguments (core's transformer_options, which tell a block its index) are copied in the first
    run, because core changes them for the next block.
    """

    def __init__(self, block: nn.Module) -> None:
        self.block = block
        forward = block.forward
        # An interrupted run may have left its patch behind.
        self.forward = forward.forward if isinstance(forward, CheckpointedForward) else forward

    def __call__(self, *args, **kwargs):
        if not torch.is_grad_enabled():
            return self.forward(*args, **kwargs)
        first_run = [kwargs]
        saved = _copy_options(kwargs)

        def run(*args):
            options = first_run.pop() if first_run else _copy_options(saved)
            with functional_inplace_ops(self.block):
                return self.forward(*args, **options)

        return checkpoint(run, *args, use_reentrant=False, preserve_rng_state=False)


def clone_with_checkpointing(patcher: ModelPatcher) -> ModelPatcher:
    """Return a clone with the same weights whose blocks run again in the backward pass."""
    clone = patcher.clone()
    for name, block in find_blocks(patcher.model):
        clone.add_object_patch(f"{name}.forward", CheckpointedForward(block))
    return clone


def find_blocks(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield the names and modules of a model's innermost blocks.

    These are the residual and transformer blocks of SDXL, the streams of Flux and the residual blocks of a VAE.
    """
    for name, module in model.named_modules():
        for child, member in module.named_children() if _is_block_list(module) else ():
            if next(member.parameters(), None) is not None and not any(map(_is_block_list, member.modules())):
                yield f"{name}.{child}", member


def _is_block_list(module: nn.Module) -> bool:
    # Core's subclass of nn.Sequential contains blocks and passes on the time embedding.
    # A plain nn.Sequential is part of a block.
    return isinstance(module, nn.ModuleList) or (
        isinstance(module, nn.Sequential) and type(module) is not nn.Sequential
    )


def _copy_options(options: dict) -> dict:
    return {name: dict(value) if isinstance(value, dict) else value for name, value in options.items()}
