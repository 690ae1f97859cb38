"""ReNO: the initial noise of a generator, optimised by gradient ascent on a reward of its image (METHOD section 4).

It works over any callable from noise to images, so ComfyUI, diffusers and a toy function are optimised by one code.
Every row of a batch is optimised on its own, from its own noise to its own best.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from .errors import RewardError

Generate = Callable[[Tensor], Tensor]
Reward = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class RenoConfig:
    """How the noise is optimised. The defaults are those published with ReNO, but for `iterations` (the seeds' 30).

    Attributes:
        iterations: how often the generator runs; the first image is the unoptimised one, so one changes nothing.
        learning_rate, momentum: of SGD with Nesterov momentum.
        max_grad_norm: each row's gradient is scaled down to this norm.
        regulariser: weight of the norm regulariser that keeps the noise as likely as a Gaussian's.
    """

    iterations: int = 30
    learning_rate: float = 5.0
    momentum: float = 0.9
    max_grad_norm: float = 0.1
    regulariser: float = 0.01

    def __post_init__(self) -> None:
        if self.iterations < 1:
            raise RewardError(f"The noise cannot be optimised in {self.iterations} iterations: give at least 1.")


@dataclass(frozen=True)
class RenoStep:
    """What one iteration found, detached; per row of the batch where it says (B,).

    Attributes:
        index: from 0 to `total` - 1.
        rewards: (B,), of this iteration's images. best: (B,), the highest so far.
        images: (B, 3, H, W).
    """

    index: int
    total: int
    rewards: Tensor
    best: Tensor
    images: Tensor


@dataclass(frozen=True)
class RenoResult:
    """Each row's best, by the reward without the regulariser.

    Attributes:
        noise: (B, ...) the noise that gave it. images: (B, 3, H, W). rewards: (B,).
        iterations: (B,), in which iteration it was found.
        curve: (iterations, B), the reward of every iteration.
    """

    noise: Tensor
    images: Tensor
    rewards: Tensor
    iterations: Tensor
    curve: Tensor

    def cpu(self) -> RenoResult:
        """The same, off the accelerator."""
        return RenoResult(*(getattr(self, field.name).cpu() for field in fields(self)))


def norm_regulariser(noise: Tensor) -> Tensor:
    """||e||^2 / 2 - (d - 1) log ||e|| of each row (B,): least where ||e||^2 = d - 1, about a Gaussian's own norm."""
    flat = noise.flatten(1)
    norm = flat.norm(dim=1)
    return norm.square() / 2 - (flat.shape[1] - 1) * norm.log()


def clip_rows(grad: Tensor, max_norm: float) -> Tensor:
    """Scale each row of (B, ...) down to `max_norm`, rows below it untouched."""
    norm = grad.flatten(1).norm(dim=1).clamp_min(torch.finfo(grad.dtype).tiny)
    return grad * (max_norm / norm).clamp_max(1.0).view(-1, *[1] * (grad.dim() - 1))


def optimise(
    noise: Tensor,
    generate: Generate,
    reward: Reward,
    config: RenoConfig,
    on_step: Callable[[RenoStep], None] | None = None,
) -> RenoResult:
    """Climb the reward from `noise` (B, ...).

    Args:
        generate: differentiable, noise -> images (B, 3, H, W).
        reward: differentiable, images -> (B,); higher is better, and each row's depends on its own image alone.
        on_step: called after every iteration; what it raises ends the optimisation (an interrupt, say).

    Raises:
        RewardError: a reward is not finite, or does not depend on the noise.
    """
    noise = noise.detach().clone().requires_grad_()
    optimiser = torch.optim.SGD([noise], config.learning_rate, config.momentum, nesterov=config.momentum > 0)
    best: RenoResult | None = None
    curve: list[Tensor] = []
    for index in range(config.iterations):
        images = generate(noise)
        rewards = reward(images)
        _check(rewards, index)
        curve.append(rewards.detach())
        best = _keep_best(best, noise, images, rewards, index)
        if index + 1 < config.iterations:  # the last image needs no gradient
            noise.grad = clip_rows(_loss_gradient(noise, rewards, config), config.max_grad_norm)
            optimiser.step()
        if on_step:
            on_step(RenoStep(index, config.iterations, rewards.detach(), best.rewards, images.detach()))
    return RenoResult(best.noise, best.images, best.rewards, best.iterations, torch.stack(curve))


def _loss_gradient(noise: Tensor, rewards: Tensor, config: RenoConfig) -> Tensor:
    loss = -rewards.sum()
    if config.regulariser:
        loss = loss + config.regulariser * norm_regulariser(noise).sum()
    (grad,) = torch.autograd.grad(loss, noise)
    return grad


def _keep_best(best: RenoResult | None, noise: Tensor, images: Tensor, rewards: Tensor, index: int) -> RenoResult:
    """The better of the best so far and this iteration, row by row, without any graph behind it."""
    now = RenoResult(
        noise.detach().clone(),
        images.detach(),
        rewards.detach(),
        torch.full(rewards.shape, index, device=rewards.device),
        rewards.new_empty(0),
    )
    if best is None:
        return now
    better = now.rewards > best.rewards

    def pick(new: Tensor, old: Tensor) -> Tensor:
        return torch.where(better.to(new.device).view(-1, *[1] * (new.dim() - 1)), new, old)

    return RenoResult(
        pick(now.noise, best.noise),
        pick(now.images, best.images),
        pick(now.rewards, best.rewards),
        pick(now.iterations, best.iterations),
        best.curve,
    )


def _check(rewards: Tensor, index: int) -> None:
    if not rewards.requires_grad:
        raise RewardError(
            "The reward does not depend on the noise: generator and reward must both be differentiable (no no_grad)."
        )
    if not torch.isfinite(rewards.detach()).all():
        raise RewardError(
            f"The reward of iteration {index + 1} is not finite: lower the learning rate, "
            "or use float32 where the model runs in half precision."
        )
