"""Records of a noise optimisation: one iteration, and the best image of every row of the batch."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from ..errors import RewardError


@dataclass(frozen=True)
class RenoStep:
    """An iteration, passed to `on_step`. All tensors are detached.

    Attributes:
        index: Index of the iteration, from 0 to `total` - 1.
        total: Maximum number of iterations.
        rewards: Rewards of this iteration's images, (B,).
        best_rewards: Best rewards so far, (B,).
        images: This iteration's images, (B, 3, H, W).
        gradient_norms: Norms of the gradients of reward and regulariser before clipping, (B,). Zero where no gradient
            is computed: while initial noises are compared, and in the last iteration.
    """

    index: int
    total: int
    rewards: Tensor
    best_rewards: Tensor
    images: Tensor
    gradient_norms: Tensor


@dataclass(frozen=True)
class RenoResult:
    """The best image of every row, by the reward without the regulariser.

    Attributes:
        noise: Noise of the best images, (B, ...).
        images: Best images, (B, 3, H, W).
        rewards: Rewards of the best images, (B,).
        iterations: Indices of the iterations that generated them, (B,).
        curve: Rewards of all iterations that ran, (iterations, B).
    """

    noise: Tensor
    images: Tensor
    rewards: Tensor
    iterations: Tensor
    curve: Tensor

    def cpu(self) -> RenoResult:
        """Return a copy on the CPU."""
        return RenoResult(*(getattr(self, field.name).cpu() for field in fields(self)))


def update_best(best: RenoResult | None, noise: Tensor, images: Tensor, rewards: Tensor, index: int) -> RenoResult:
    """Return the better of the best result so far and this iteration, for each row, detached."""
    current = RenoResult(
        noise.detach().clone(),
        images.detach(),
        rewards.detach(),
        torch.full(rewards.shape, index, device=rewards.device),
        rewards.new_empty(0),
    )
    if best is None:
        return current
    improved = current.rewards > best.rewards

    def select(new: Tensor, old: Tensor) -> Tensor:
        return torch.where(expand_rows(improved, new), new, old)

    return RenoResult(
        select(current.noise, best.noise),
        select(current.images, best.images),
        select(current.rewards, best.rewards),
        select(current.iterations, best.iterations),
        best.curve,
    )


def expand_rows(values: Tensor, like: Tensor) -> Tensor:
    """Reshape one value per row, (B,), to (B, 1, ...) with the device and the number of dimensions of `like`."""
    return values.to(like.device).view(-1, *[1] * (like.dim() - 1))


def require_rewards(rewards: Tensor, rows: int, index: int) -> None:
    """Raise RewardError unless there is one finite reward for each of the `rows` images of iteration `index`."""
    if rewards.shape != (rows,):
        raise RewardError(f"rewards has shape {tuple(rewards.shape)}; expected ({rows},), one number for each image.")
    if not torch.isfinite(rewards.detach()).all():
        raise RewardError(f"The reward of iteration {index + 1} is not finite. Lower the learning rate.")
