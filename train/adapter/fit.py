"""The training itself: an adapter, a frozen UNet and batches in, the trained adapter out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from accelerate import PartialState
from torch import Tensor

from prefgen.adapter import PreferenceAdapter, UserParts, install_in_diffusers
from prefgen.checkpoint.file import Checkpoint, write_part
from train.adapter.config import AdapterTraining
from train.adapter.learner import AdapterLearner
from train.diffusion import Painted, noised, prediction_loss, taught
from train.loop import fit, generator_of
from train.settings import key_of

if TYPE_CHECKING:
    from diffusers import DDPMScheduler, UNet2DConditionModel

Batches = Callable[[int], tuple[UserParts, Painted]]
"""The number of a step -> its users, and what each of them likes to see painted."""


def train_adapter(
    adapter: PreferenceAdapter,
    unet: UNet2DConditionModel,
    scheduler: DDPMScheduler,
    batches: Batches,
    config: AdapterTraining,
    folder: Path,
) -> PreferenceAdapter:
    """Train, resuming where a state of the same settings lies in `folder`; returns the averaged weights, on the CPU.

    The UNet is moved to the device, frozen, and given the branch, all in place. batches: in several processes each has
    to give others, by `stream`. Raises ModelError where the adapter was not made for this UNet.
    """
    state, folder = PartialState(), folder / key_of(asdict(config))
    unet.requires_grad_(False).to(state.device)
    branch = install_in_diffusers(unet, adapter)
    if state.num_processes > 1:
        # Every process keeps its own state, all of them alike: two cannot write one file.
        folder = folder / f"process{state.process_index}"

    def loss_of(model: torch.nn.Module, step: int) -> dict[str, Tensor]:
        generator = generator_of(config.seed, stream(step))
        users, painted = batches(stream(step))
        painted = painted.to(state.device, unet.dtype)
        present = torch.rand(len(painted.latents), generator=generator) >= config.no_user
        users = UserParts(*(part if part is None else part.to(state.device) for part in users))
        pairs = model(users, present.to(state.device))
        pairs = {name: (k.to(unet.dtype), v.to(unet.dtype)) for name, (k, v) in pairs.items()}
        given = noised(scheduler, painted, generator, config.shift)
        if config.target == "caption":
            given = taught(unet, given, painted)
        with branch.keys_values(pairs):
            return {"loss": prediction_loss(unet, given, painted)}

    return fit(AdapterLearner(adapter), loss_of, config.loop, folder).adapter.cpu()


def stream(step: int) -> int:
    """A number for this step of this process, and of no other."""
    state = PartialState()
    return step * state.num_processes + state.process_index


def write_adapter(path: Path, adapter: PreferenceAdapter, **about: object) -> Checkpoint:
    """Put the adapter into a checkpoint, in half precision. The alignment of `sem` has a part of its own; that of
    `core`, where there is one, lies with the adapter. about: of the training, for the header."""
    tensors = {k: v.half() for k, v in adapter.state_dict().items() if not k.startswith("alignment.")}
    return write_part(path, "adapter", adapter.config.to_dict(), tensors, training={"adapter": about})
