"""What an iteration and a whole optimisation find, row by row of the batch."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from ..errors import RewardError


@dataclass(frozen=True)
class RenoStep:
    """What one iteration found, detached; per row of the batch where it says (B,).

    Attributes:
        index: from 0 to `total` - 1.
        rewards: (B,), of this iteration's images. best: (B,), the highest so far.
        images: (B, 3, H, W).
        gradient_norms: (B,), of loss and regulariser before clipping; zero where none is
            taken: for noises to start from, and in the last iteration.
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


def keep_best(best: RenoResult | None, noise: Tensor, images: Tensor, rewards: Tensor, index: int) -> RenoResult:
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
        return torch.where(as_rows(better, new), new, old)

    return RenoResult(
        pick(now.noise, best.noise),
        pick(now.images, best.images),
        pick(now.rewards, best.rewards),
        pick(now.iterations, best.iterations),
        best.curve,
    )


def as_rows(values: Tensor, like: Tensor) -> Tensor:
    """(B,) -> (B, 1, ...), of as many dimensions and on the same device as `like`."""
    return values.to(like.device).view(-1, *[1] * (like.dim() - 1))


def check_rewards(rewards: Tensor, rows: int, index: int) -> None:
    """Raises RewardError unless there is one finite number for every row."""
    if rewards.shape != (rows,):
        raise RewardError(
            f"The reward has shape {tuple(rewards.shape)} for {rows} images, expected one number for each: ({rows},)."
        )
    if not torch.isfinite(rewards.detach()).all():
        raise RewardError(
            f"The reward of iteration {index + 1} is not finite: lower the learning rate, "
            "or use float32 where the model runs in half precision."
        )
