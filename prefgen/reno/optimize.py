"""Gradient ascent on the initial noise (ReNO, arXiv 2406.04312).

The generator is any differentiable function from noise to images, so ComfyUI and diffusers use the same code. Every row
of a batch is optimised on its own: its result does not depend on the other rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from ..errors import NonfiniteGradientError, RewardError
from .best_of_n import Generate, Reward, best_of_n
from .config import RenoConfig
from .result import RenoResult, RenoStep, expand_rows, require_rewards, update_best

BACKOFF = 16.0
"""Divisor of a row's loss scale when its gradient overflows. The value is our choice."""


def optimize_noise(
    noise: Tensor,
    generate: Generate,
    reward: Reward,
    config: RenoConfig,
    on_step: Callable[[RenoStep], None] | None = None,
    sample_noise: Callable[[int], Tensor] | None = None,
) -> RenoResult:
    """Optimise the noise of a generator for a reward (ReNO, arXiv 2406.04312).

    Args:
        noise: Initial noise, (B, ...). It is not modified.
        generate: Differentiable generator, noise (B, ...) to images (B, 3, H, W).
        reward: Differentiable reward, images (B, 3, H, W) to rewards (B,). Higher is better. Each reward depends on its
            own image only.
        config: Settings.
        on_step: Called after every iteration. An exception that it raises ends the optimisation.
        sample_noise: Returns another initial noise (B, ...), given an index from 1 to `config.num_initial_noises` - 1.
            Needed when `config.num_initial_noises` is above 1.

    Returns:
        The best result of every row.

    Raises:
        RewardError: The rewards are not one finite number for each row or do not depend on the noise, or their gradient
            is not finite.
    """
    best, curve = best_of_n(noise, generate, reward, config, on_step, sample_noise)
    noise = (best.noise if best else noise).detach().clone().requires_grad_()
    optimiser = _create_optimiser(noise, config)
    scales = torch.full((len(noise),), config.loss_scale, device=noise.device)
    early_stopping = EarlyStopping(noise, config)
    for index in range(len(curve), config.iterations):
        images = generate(noise)
        rewards = reward(images)
        require_rewards(rewards, len(noise), index)
        if not rewards.requires_grad:
            raise RewardError("The reward does not depend on the noise. Make both differentiable.")
        curve.append(rewards.detach())
        best = update_best(best, noise, images, rewards, index)
        active = early_stopping.update(best.rewards)
        last = index + 1 == config.iterations or not active.any()
        gradient_norms = torch.zeros(len(noise), device=noise.device)
        if not last:
            gradient = _loss_gradient(noise, rewards, scales, config, index)
            gradient_norms = row_norms(gradient)
            noise.grad = clip_row_norms(gradient, config.max_grad_norm)
            _step_rows(noise, optimiser, active)
        if on_step:
            step = RenoStep(index, config.iterations, rewards.detach(), best.rewards, images.detach(), gradient_norms)
            on_step(step)
        if last:
            break
    return RenoResult(best.noise, best.images, best.rewards, best.iterations, torch.stack(curve))


class EarlyStopping:
    """Tracks for every row how many iterations ago its best reward last improved."""

    def __init__(self, noise: Tensor, config: RenoConfig) -> None:
        self.patience = config.patience or math.inf
        self.min_gain = config.min_gain
        self.waited = torch.zeros(len(noise), dtype=torch.long, device=noise.device)
        self.reference = torch.full((len(noise),), -math.inf, device=noise.device)

    def update(self, best_rewards: Tensor) -> Tensor:
        """Return which rows go on, (B,), given their best rewards so far, (B,)."""
        current = best_rewards.to(self.reference)
        improved = current - self.reference > self.min_gain
        self.waited = torch.where(improved, 0, self.waited + 1)
        self.reference = torch.where(improved, current, self.reference)
        return self.waited < self.patience


def _create_optimiser(noise: Tensor, config: RenoConfig) -> torch.optim.Optimizer:
    if config.optimiser == "adam":
        return torch.optim.Adam([noise], config.learning_rate)
    return torch.optim.SGD([noise], config.learning_rate, config.momentum, nesterov=config.momentum > 0)


@torch.no_grad()
def _step_rows(noise: Tensor, optimiser: torch.optim.Optimizer, active: Tensor) -> None:
    """Take one optimiser step for the active rows."""
    previous = noise.clone()
    optimiser.step()
    noise.copy_(torch.where(expand_rows(active, noise), noise, previous))


def _loss_gradient(noise: Tensor, rewards: Tensor, scales: Tensor, config: RenoConfig, index: int) -> Tensor:
    """Return the gradient of the loss, -reward + weight * regulariser.

    Lowers the loss scales (B,) in place for rows whose gradient overflows. The regulariser is computed in float32 and
    needs no scale.
    """
    while True:
        retry = bool((scales > 1).any())
        (gradient,) = torch.autograd.grad((rewards * scales.to(rewards)).sum(), noise, retain_graph=retry)
        gradient = -gradient / expand_rows(scales, gradient)
        overflowed = ~torch.isfinite(gradient).flatten(1).all(1)
        if not overflowed.any():
            break
        if (overflowed & (scales <= 1)).any():
            remedy = "Use float32 or bfloat16 models" if config.loss_scale > 1 else "Remove patches from the generator"
            raise NonfiniteGradientError(f"The gradient of iteration {index + 1} is not finite. {remedy}.")
        scales[overflowed] = (scales[overflowed] / BACKOFF).clamp_min(1.0)
    if config.regulariser:
        (regulariser_gradient,) = torch.autograd.grad(norm_regulariser(noise).sum(), noise)
        gradient = gradient + config.regulariser * regulariser_gradient
    return gradient


def norm_regulariser(noise: Tensor) -> Tensor:
    """Compute the norm regulariser of each row, ||e||^2 / 2 - (d - 1) log ||e||.

    It is smallest at ||e||^2 = d - 1, about the norm of Gaussian noise. It is computed in float32 at least, because the
    squared norm of a latent overflows float16.

    Args:
        noise: Noise, (B, ...) with d values in each row.

    Returns:
        The regulariser, (B,).
    """
    flat = noise.flatten(1).to(torch.promote_types(noise.dtype, torch.float32))
    norm = flat.norm(dim=1)
    return norm.square() / 2 - (flat.shape[1] - 1) * norm.log()


def clip_row_norms(gradient: Tensor, max_norm: float) -> Tensor:
    """Scale each row of (B, ...) down to `max_norm`. Rows with a smaller norm stay unchanged."""
    norm = row_norms(gradient).clamp_min(torch.finfo(gradient.dtype).tiny)
    return gradient * expand_rows((max_norm / norm).clamp_max(1.0), gradient)


def row_norms(x: Tensor) -> Tensor:
    """Return the Euclidean norm of each row of (B, ...), as (B,)."""
    return x.flatten(1).norm(dim=1)
