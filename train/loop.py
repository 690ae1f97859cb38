"""Resumable training loop for small models: AdamW, cosine schedule, gradient clipping, EMA and progress logs.

Batches are drawn by step number, so a run that was killed and resumed sees the same batches as an uninterrupted one.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import trange

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LoopConfig:
    """Length, optimiser and checkpointing of a training run. The defaults are our choice.

    Attributes:
        steps: Number of optimiser steps. The cosine schedule ends with the last step.
        learning_rate: Peak learning rate, reached after `warmup` steps.
        weight_decay: Weight decay of AdamW.
        warmup: Number of steps of linear warm-up.
        clip: Maximum gradient norm.
        ema: Decay of the exponential moving average of the weights, which `fit` returns.
        save_every: Number of steps between saved states. A killed run loses at most this many steps.
        log_every: Number of steps between rows of the log.
        bfloat16: Whether to compute under bfloat16 autocast. The weights, their average and the optimiser stay in
            float32.
    """

    steps: int
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    warmup: int = 100
    clip: float = 1.0
    ema: float = 0.998
    save_every: int = 250
    log_every: int = 50
    bfloat16: bool = False


def generator_of(seed: int, step: int) -> torch.Generator:
    """Return the random generator for a step. It depends only on the seed and the step, not on interruptions."""
    return torch.Generator().manual_seed(seed * 1_000_003 + step)


def device_of(model: nn.Module) -> torch.device:
    """Return the device of a model's parameters."""
    return next(model.parameters()).device


def fit(
    model: nn.Module, loss_of: Callable[[nn.Module, int], dict[str, Tensor]], config: LoopConfig, folder: Path
) -> nn.Module:
    """Train a model in place, or resume from the state in `folder`.

    Args:
        model: The model. Parameters with `requires_grad` are trained.
        loss_of: Function (model, step) -> named scalars. "loss" is minimised, and all scalars are logged.
        config: Length, optimiser and checkpointing.
        folder: Folder for `state.pt` and `log.jsonl`.

    Returns:
        A copy of the model with the moving average of the weights, on the CPU, in eval mode.
    """
    accelerator = Accelerator()
    folder.mkdir(parents=True, exist_ok=True)
    params = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(params, lr=config.learning_rate, weight_decay=config.weight_decay, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _learning_rate_factor(step, config))
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(config.ema), use_buffers=True)
    first_step = _resume(folder / "state.pt", model, average, optimiser, schedule)
    average.to(accelerator.device)
    model, optimiser, schedule = accelerator.prepare(model, optimiser, schedule)
    model.train()
    start_time, sums = time.monotonic(), {}
    for step in trange(
        first_step, config.steps, initial=first_step, total=config.steps, desc=folder.name, mininterval=10
    ):
        # accelerate's autocast has one precision for the whole process, so torch's autocast is used instead.
        with torch.autocast(accelerator.device.type, torch.bfloat16, enabled=config.bfloat16):
            losses = loss_of(model, step)
        accelerator.backward(losses["loss"])
        accelerator.clip_grad_norm_(params, config.clip)
        optimiser.step()
        schedule.step()
        optimiser.zero_grad()
        if step >= config.warmup and step % 2 == 0:
            average.update_parameters(accelerator.unwrap_model(model))
        for name, value in losses.items():
            sums[name] = sums.get(name, 0.0) + value.detach()
        if (step + 1) % config.log_every == 0:
            row = {name: round(float(v) / config.log_every, 5) for name, v in sums.items()}
            row = {"step": step + 1, "seconds": round(time.monotonic() - start_time, 1), **row}
            with (folder / "log.jsonl").open("a") as file:
                file.write(json.dumps(row) + "\n")
            sums = {}
        if (step + 1) % config.save_every == 0 or step + 1 == config.steps:
            _save(folder / "state.pt", step + 1, accelerator.unwrap_model(model), average, optimiser, schedule)
    return average.module.cpu().eval()


def _learning_rate_factor(step: int, config: LoopConfig) -> float:
    if step < config.warmup:
        return (step + 1) / config.warmup
    progress = min(1.0, (step - config.warmup) / max(1, config.steps - config.warmup))
    return 0.02 + 0.98 * 0.5 * (1 + torch.cos(torch.tensor(progress * torch.pi)).item())


def _save(path: Path, step: int, *parts) -> None:
    """Write a temporary file and rename it. The previous state survives if the process is killed during the write."""
    temporary = path.with_suffix(".tmp")
    torch.save({"step": step, "parts": [p.state_dict() for p in parts]}, temporary)
    temporary.replace(path)


def _resume(path: Path, *parts) -> int:
    if not path.exists():
        return 0
    state = torch.load(path, map_location="cpu", weights_only=True)
    for part, saved in zip(parts, state["parts"], strict=True):
        part.load_state_dict(saved)
    log.info("Resuming %s at step %d.", path, state["step"])
    return state["step"]
