"""The gradient ascent itself, over any callable from noise to images, so that ComfyUI, diffusers and a toy function are
optimised by one code. Every row of a batch is optimised on its own, from its own noise to its own best: what a row
becomes does not depend on the rows beside it.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from ..errors import RewardError
from .best_of_n import Generate, Reward, search
from .config import RenoConfig
from .result import RenoResult, RenoStep, as_rows, check_rewards, keep_best

BACKOFF = 16.0
"""By how much a row's loss scale falls when its gradient overflows (default ours)."""


def optimise(
    noise: Tensor,
    generate: Generate,
    reward: Reward,
    config: RenoConfig,
    on_step: Callable[[RenoStep], None] | None = None,
    fresh: Callable[[int], Tensor] | None = None,
) -> RenoResult:
    """Climb the reward from `noise` (B, ...), or from the best of it and `config.starts` - 1 others.

    Args:
        generate: differentiable, noise -> images (B, 3, H, W).
        reward: differentiable, images -> (B,); higher is better, and each row's depends on its own image alone.
        on_step: called after every iteration; what it raises ends the optimisation (an interrupt, say).
        fresh: the k-th other noise (B, ...), for k of 1 to `config.starts` - 1; needed where there are any.

    Raises:
        RewardError: a reward is not one number a row, not finite, or does not depend on the noise; or its gradient is
            not finite.
    """
    best, curve = search(noise, generate, reward, config, on_step, fresh)
    noise = (best.noise if best else noise).detach().clone().requires_grad_()
    optimiser = _optimiser(noise, config)
    scales = torch.full((len(noise),), config.loss_scale, device=noise.device)
    waited = torch.zeros(len(noise), dtype=torch.long, device=noise.device)  # iterations since a row's best rose ...
    mark = torch.full((len(noise),), -math.inf, device=noise.device)  # ... from this
    for index in range(len(curve), config.iterations):
        images = generate(noise)
        rewards = reward(images)
        check_rewards(rewards, len(noise), index)
        _check_gradient(rewards)
        curve.append(rewards.detach())
        best = keep_best(best, noise, images, rewards, index)
        now = best.rewards.to(mark)
        gained = now - mark > config.min_gain
        waited, mark = torch.where(gained, 0, waited + 1), torch.where(gained, now, mark)
        moving = waited < (config.patience or math.inf)
        last = index + 1 == config.iterations or not moving.any()
        norms = torch.zeros(len(noise), device=noise.device)
        if not last:
            grad = _loss_gradient(noise, rewards, scales, config, index)
            norms = row_norms(grad)
            noise.grad = clip_rows(grad, config.max_grad_norm)
            _step(noise, optimiser, moving)
        if on_step:
            on_step(RenoStep(index, config.iterations, rewards.detach(), best.rewards, images.detach(), norms))
        if last:
            break
    return RenoResult(best.noise, best.images, best.rewards, best.iterations, torch.stack(curve))


def _optimiser(noise: Tensor, config: RenoConfig) -> torch.optim.Optimizer:
    if config.optimiser == "adam":
        return torch.optim.Adam([noise], config.learning_rate)
    return torch.optim.SGD([noise], config.learning_rate, config.momentum, nesterov=config.momentum > 0)


@torch.no_grad()
def _step(noise: Tensor, optimiser: torch.optim.Optimizer, moving: Tensor) -> None:
    """One step of the rows that still move."""
    before = noise.clone()
    optimiser.step()
    noise.copy_(torch.where(as_rows(moving, noise), noise, before))


def _loss_gradient(noise: Tensor, rewards: Tensor, scales: Tensor, config: RenoConfig, index: int) -> Tensor:
    """The gradient of the loss -reward + regulariser. `scales` (B,) is each row's loss scale, lowered in place for rows
    whose gradient overflows; the regulariser, in float32, needs none."""
    while True:
        again = bool((scales > 1).any())
        (grad,) = torch.autograd.grad((rewards * scales.to(rewards)).sum(), noise, retain_graph=again)
        grad = -grad / as_rows(scales, grad)
        overflown = ~torch.isfinite(grad).flatten(1).all(1)
        if not overflown.any():
            break
        if (overflown & (scales <= 1)).any():
            raise RewardError(
                f"The gradient of iteration {index + 1} is not finite: use float32 or bfloat16 where a model runs in "
                "float16, or lower the learning rate."
            )
        scales[overflown] = (scales[overflown] / BACKOFF).clamp_min(1.0)
    if config.regulariser:
        (pull,) = torch.autograd.grad(norm_regulariser(noise).sum(), noise)
        grad = grad + config.regulariser * pull
    return grad


def _check_gradient(rewards: Tensor) -> None:
    if not rewards.requires_grad:
        raise RewardError(
            "The reward does not depend on the noise: generator and reward must both be differentiable (no no_grad)."
        )


def norm_regulariser(noise: Tensor) -> Tensor:
    """||e||^2 / 2 - (d - 1) log ||e|| of each row (B,): least where ||e||^2 = d - 1, about a Gaussian's own norm.

    In float32 at least: a latent's squared norm is beyond float16.
    """
    flat = noise.flatten(1).to(torch.promote_types(noise.dtype, torch.float32))
    norm = flat.norm(dim=1)
    return norm.square() / 2 - (flat.shape[1] - 1) * norm.log()


def clip_rows(grad: Tensor, max_norm: float) -> Tensor:
    """Scale each row of (B, ...) down to `max_norm`, rows below it untouched."""
    norm = row_norms(grad).clamp_min(torch.finfo(grad.dtype).tiny)
    return grad * as_rows((max_norm / norm).clamp_max(1.0), grad)


def row_norms(x: Tensor) -> Tensor:
    """The Euclidean norm of each row of (B, ...): (B,)."""
    return x.flatten(1).norm(dim=1)
