"""Trains the adapter with the diffusion loss of a frozen UNet, and writes it into a checkpoint."""

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
from train.adapter.config import AdapterTrainingConfig
from train.adapter.learner import AdapterLearner
from train.diffusion import DiffusionBatch, add_noise, distillation_target, prediction_loss
from train.loop import fit, generator_of
from train.settings import settings_digest

if TYPE_CHECKING:
    from diffusers import DDPMScheduler, UNet2DConditionModel

Batches = Callable[[int], tuple[UserParts, DiffusionBatch]]
"""Function from a batch index to user embeddings, and one liked image per user."""


def train_adapter(
    adapter: PreferenceAdapter,
    unet: UNet2DConditionModel,
    scheduler: DDPMScheduler,
    batches: Batches,
    config: AdapterTrainingConfig,
    folder: Path,
) -> PreferenceAdapter:
    """Train the adapter, or resume a run with the same settings.

    Args:
        adapter: The initialised adapter.
        unet: The UNet. It is moved to the training device, frozen, and extended by the adapter branch, all in place.
        scheduler: Noise schedule and prediction type of the UNet.
        batches: Returns a batch for an index. The processes of a run request different indices.
        config: Settings of the training.
        folder: Parent folder of the run's states. The folder of the run is named after a digest of the settings.

    Returns:
        The adapter with averaged weights, on the CPU.

    Raises:
        ModelError: The adapter is not compatible with the UNet.
    """
    state, folder = PartialState(), folder / settings_digest(asdict(config))
    unet.requires_grad_(False).to(state.device)
    branch = install_in_diffusers(unet, adapter)
    if state.num_processes > 1:
        # All processes hold the same state, but they cannot write to the same file.
        folder = folder / f"process{state.process_index}"

    def loss_of(model: torch.nn.Module, step: int) -> dict[str, Tensor]:
        generator = generator_of(config.seed, unique_batch_index(step))
        users, batch = batches(unique_batch_index(step))
        batch = batch.to(state.device, unet.dtype)
        keep = torch.rand(len(batch.latents), generator=generator) >= config.user_dropout
        users = UserParts(*(part if part is None else part.to(state.device) for part in users))
        keys_values = model(users, keep.to(state.device))
        keys_values = {name: (k.to(unet.dtype), v.to(unet.dtype)) for name, (k, v) in keys_values.items()}
        noisy = add_noise(scheduler, batch, generator, config.shift)
        if config.target == "caption":
            noisy = distillation_target(unet, noisy, batch)
        with branch.keys_values(keys_values):
            return {"loss": prediction_loss(unet, noisy, batch)}

    return fit(AdapterLearner(adapter), loss_of, config.loop, folder).adapter.cpu()


def unique_batch_index(step: int) -> int:
    """Return a batch index that no other step and no other process uses."""
    state = PartialState()
    return step * state.num_processes + state.process_index


def write_adapter(path: Path, adapter: PreferenceAdapter, **training: object) -> Checkpoint:
    """Write the adapter part of a checkpoint, in half precision.

    The alignment of `sem` is a separate part of the checkpoint. An alignment of `core` is stored with the adapter.

    Args:
        path: The checkpoint. Its other parts stay unchanged.
        adapter: The trained adapter.
        training: Training metadata for the header.
    """
    tensors = {k: v.half() for k, v in adapter.state_dict().items() if not k.startswith("alignment.")}
    return write_part(path, "adapter", adapter.config.to_dict(), tensors, training={"adapter": training})
