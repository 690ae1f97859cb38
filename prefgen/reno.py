"""ReNO: the initial noise of a generator, optimised by gradient ascent on a reward of its image (method.md section 4).

It works over any callable from noise to images, so ComfyUI, diffusers and a toy function are optimised by one code.
Every row of a batch is optimised on its own, from its own noise to its own best: what a row becomes does not depend on
the rows beside it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Literal, get_args

import torch
from torch import Tensor

from .errors import RewardError

Generate = Callable[[Tensor], Tensor]
Reward = Callable[[Tensor], Tensor]
Optimiser = Literal["sgd", "adam"]

BACKOFF = 16.0
"""By how much a row's loss scale falls when its gradient overflows (default ours)."""


@dataclass(frozen=True)
class RenoConfig:
    """How the noise is optimised. The defaults are those published with ReNO, but for `iterations` (001's 30).

    Attributes:
        iterations: how often the generator runs; the first image is the unoptimised one, so one changes nothing.
        learning_rate: for Adam, whose steps have about this length in every coordinate, 0.01 to 0.1.
        momentum: of SGD, Nesterov's.
        max_grad_norm: each row's gradient is scaled down to this norm.
        regulariser: weight of the norm regulariser that keeps the noise as likely as a Gaussian's.
        optimiser: "sgd" as published, or "adam" (Kingma & Ba's betas and epsilon).
        patience: a row stays as it is once its best has not risen by more than `min_gain` in so many iterations, and
            all ends when every row has; 0 goes through all iterations (default ours; the paper has no early stop).
        loss_scale: gradients are computed of the reward times this and divided by it afterwards, so that those of a
            model in half precision do not vanish; a row whose gradient overflows takes a smaller one by itself.
    """

    iterations: int = 30
    learning_rate: float = 5.0
    momentum: float = 0.9
    max_grad_norm: float = 0.1
    regulariser: float = 0.01
    optimiser: Optimiser = "sgd"
    patience: int = 0
    min_gain: float = 0.0
    loss_scale: float = 1.0

    def __post_init__(self) -> None:
        if self.iterations < 1:
            raise RewardError(f"The noise cannot be optimised in {self.iterations} iterations: give at least 1.")
        if self.optimiser not in get_args(Optimiser):
            raise RewardError(f"The optimiser is {self.optimiser!r}; expected one of {', '.join(get_args(Optimiser))}.")
        for name, value, right in (
            ("learning rate", self.learning_rate, 0 <= self.learning_rate < math.inf),
            ("momentum", self.momentum, 0 <= self.momentum < 1),
            ("gradient norm", self.max_grad_norm, self.max_grad_norm > 0),
            ("regulariser", self.regulariser, 0 <= self.regulariser < math.inf),
            ("patience", self.patience, self.patience >= 0),
            ("gain", self.min_gain, 0 <= self.min_gain < math.inf),
            ("loss scale", self.loss_scale, 1 <= self.loss_scale < math.inf),
        ):
            if not right:
                raise RewardError(f"The {name} of the noise optimisation is {value:g}, which it cannot be: {_ALLOWED}.")


_ALLOWED = (
    "give a momentum below 1, a gradient norm above 0, a loss scale of at least 1, and nothing negative or infinite"
)


@dataclass(frozen=True)
class RenoStep:
    """What one iteration found, detached; per row of the batch where it says (B,).

    Attributes:
        index: from 0 to `total` - 1.
        rewards: (B,), of this iteration's images. best: (B,), the highest so far.
        images: (B, 3, H, W).
        gradient_norms: (B,), of loss and regulariser before clipping; zero in the last iteration, which needs none.
    """

    index: int
    total: int
    rewards: Tensor
    best: Tensor
    images: Tensor
    gradient_norms: Tensor


@dataclass(frozen=True)
class RenoResult:
    """Each row's best, by the reward without the regulariser.

    Attributes:
        noise: (B, ...) the noise that gave it. images: (B, 3, H, W). rewards: (B,).
        iterations: (B,), in which iteration it was found.
        curve: (iterations that ran, B), the reward of every iteration.
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
    """||e||^2 / 2 - (d - 1) log ||e|| of each row (B,): least where ||e||^2 = d - 1, about a Gaussian's own norm.

    In float32 at least: a latent's squared norm is beyond float16.
    """
    flat = noise.flatten(1).to(torch.promote_types(noise.dtype, torch.float32))
    norm = flat.norm(dim=1)
    return norm.square() / 2 - (flat.shape[1] - 1) * norm.log()


def clip_rows(grad: Tensor, max_norm: float) -> Tensor:
    """Scale each row of (B, ...) down to `max_norm`, rows below it untouched."""
    norm = row_norms(grad).clamp_min(torch.finfo(grad.dtype).tiny)
    return grad * _as_rows((max_norm / norm).clamp_max(1.0), grad)


def row_norms(x: Tensor) -> Tensor:
    """The Euclidean norm of each row of (B, ...): (B,)."""
    return x.flatten(1).norm(dim=1)


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
        RewardError: a reward is not one number a row, not finite, or does not depend on the noise; or its gradient is
            not finite.
    """
    noise = noise.detach().clone().requires_grad_()
    optimiser = _optimiser(noise, config)
    scales = torch.full((len(noise),), config.loss_scale, device=noise.device)
    best: RenoResult | None = None
    waited = torch.zeros(len(noise), dtype=torch.long, device=noise.device)  # iterations since a row's best rose ...
    mark = torch.full((len(noise),), -math.inf, device=noise.device)  # ... from this
    curve: list[Tensor] = []
    for index in range(config.iterations):
        images = generate(noise)
        rewards = reward(images)
        _check(rewards, len(noise), index)
        curve.append(rewards.detach())
        best = _keep_best(best, noise, images, rewards, index)
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
    noise.copy_(torch.where(_as_rows(moving, noise), noise, before))


def _loss_gradient(noise: Tensor, rewards: Tensor, scales: Tensor, config: RenoConfig, index: int) -> Tensor:
    """The gradient of the loss -reward + regulariser. `scales` (B,) is each row's loss scale, lowered in place for rows
    whose gradient overflows; the regulariser, in float32, needs none."""
    while True:
        again = bool((scales > 1).any())
        (grad,) = torch.autograd.grad((rewards * scales.to(rewards)).sum(), noise, retain_graph=again)
        grad = -grad / _as_rows(scales, grad)
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
        return torch.where(_as_rows(better, new), new, old)

    return RenoResult(
        pick(now.noise, best.noise),
        pick(now.images, best.images),
        pick(now.rewards, best.rewards),
        pick(now.iterations, best.iterations),
        best.curve,
    )


def _as_rows(values: Tensor, like: Tensor) -> Tensor:
    """(B,) -> (B, 1, ...), of as many dimensions and on the same device as `like`."""
    return values.to(like.device).view(-1, *[1] * (like.dim() - 1))


def _check(rewards: Tensor, rows: int, index: int) -> None:
    if rewards.shape != (rows,):
        raise RewardError(
            f"The reward has shape {tuple(rewards.shape)} for {rows} images, expected one number for each: ({rows},)."
        )
    if not rewards.requires_grad:
        raise RewardError(
            "The reward does not depend on the noise: generator and reward must both be differentiable (no no_grad)."
        )
    if not torch.isfinite(rewards.detach()).all():
        raise RewardError(
            f"The reward of iteration {index + 1} is not finite: lower the learning rate, "
            "or use float32 where the model runs in half precision."
        )
