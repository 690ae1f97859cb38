"""One resumable training loop for every small model: AdamW, cosine schedule, clipping, EMA, progress.

Batches are drawn by step number, so that a run that was killed and resumed sees what an unbroken one sees.
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
    """How long and how fast. Defaults ours.

    Attributes:
        steps: optimiser steps in all; the cosine schedule ends there.
        learning_rate: the peak, reached after `warmup` steps.
        ema: decay of the weights' moving average, which is what `fit` returns; it ramps up over the first steps.
        save_every: steps between two saved states; a killed run loses at most as many.
        bfloat16: compute under autocast to it. The weights, their average and the optimiser stay in full precision.
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
    """The random stream of one step, the same however often the run was interrupted."""
    return torch.Generator().manual_seed(seed * 1_000_003 + step)


def device_of(model: nn.Module) -> torch.device:
    """Where a model in training lies, for its batches to be moved to."""
    return next(model.parameters()).device


def fit(
    model: nn.Module, loss_of: Callable[[nn.Module, int], dict[str, Tensor]], config: LoopConfig, folder: Path
) -> nn.Module:
    """Train `model` in place, resuming from `folder` where a state lies there.

    Args:
        loss_of: (model, step) -> scalars by name; "loss" is minimised, the others are logged.
        folder: where `state.pt` and `log.jsonl` are kept.
    Returns:
        the moving average of the weights, on the CPU, in eval mode.
    """
    accelerator = Accelerator()
    folder.mkdir(parents=True, exist_ok=True)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=config.learning_rate, weight_decay=config.weight_decay, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _rate(step, config))
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(config.ema), use_buffers=True)
    start = _resume(folder / "state.pt", model, average, optimiser, schedule)
    average.to(accelerator.device)
    model, optimiser, schedule = accelerator.prepare(model, optimiser, schedule)
    model.train()
    began, sums = time.monotonic(), {}
    for step in trange(start, config.steps, initial=start, total=config.steps, desc=folder.name, mininterval=10):
        # Not accelerate's own autocast, which has one precision for all trainings of a process.
        with torch.autocast(accelerator.device.type, torch.bfloat16, enabled=config.bfloat16):
            losses = loss_of(model, step)
        accelerator.backward(losses["loss"])
        accelerator.clip_grad_norm_(trained, config.clip)
        optimiser.step()
        schedule.step()
        optimiser.zero_grad()
        if step >= config.warmup and step % 2 == 0:
            average.update_parameters(accelerator.unwrap_model(model))
        for name, value in losses.items():
            sums[name] = sums.get(name, 0.0) + value.detach()
        if (step + 1) % config.log_every == 0:
            row = {name: round(float(v) / config.log_every, 5) for name, v in sums.items()}
            row = {"step": step + 1, "seconds": round(time.monotonic() - began, 1), **row}
            with (folder / "log.jsonl").open("a") as file:
                file.write(json.dumps(row) + "\n")
            sums = {}
        if (step + 1) % config.save_every == 0 or step + 1 == config.steps:
            _save(folder / "state.pt", step + 1, accelerator.unwrap_model(model), average, optimiser, schedule)
    return average.module.cpu().eval()


def _rate(step: int, config: LoopConfig) -> float:
    if step < config.warmup:
        return (step + 1) / config.warmup
    done = min(1.0, (step - config.warmup) / max(1, config.steps - config.warmup))
    return 0.02 + 0.98 * 0.5 * (1 + torch.cos(torch.tensor(done * torch.pi)).item())


def _save(path: Path, step: int, *parts) -> None:
    """Written beside and moved into place: a kill while writing leaves the state before."""
    beside = path.with_suffix(".tmp")
    torch.save({"step": step, "parts": [p.state_dict() for p in parts]}, beside)
    beside.replace(path)


def _resume(path: Path, *parts) -> int:
    if not path.exists():
        return 0
    state = torch.load(path, map_location="cpu", weights_only=True)
    for part, saved in zip(parts, state["parts"], strict=True):
        part.load_state_dict(saved)
    log.info("resuming %s at step %d", path, state["step"])
    return state["step"]
