"""Where to climb from: the best of several noises. With as many as there are iterations it is best-of-N."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..errors import RewardError
from .config import RenoConfig
from .result import RenoResult, RenoStep, check_rewards, keep_best

Generate = Callable[[Tensor], Tensor]
Reward = Callable[[Tensor], Tensor]


@torch.no_grad()
def search(
    noise: Tensor,
    generate: Generate,
    reward: Reward,
    config: RenoConfig,
    on_step: Callable[[RenoStep], None] | None,
    fresh: Callable[[int], Tensor] | None,
) -> tuple[RenoResult | None, list[Tensor]]:
    """The best of the noises to start from, and the rewards of all; nothing where there is but one (see `optimise`)."""
    if config.starts > 1 and fresh is None:
        raise RewardError(
            f"The climb is to start from the best of {config.starts} noises and only one is given: pass `fresh`, which "
            "gives the others, or leave `starts` at 1."
        )
    best: RenoResult | None = None
    curve: list[Tensor] = []
    for index in range(config.starts if config.starts > 1 else 0):
        tried = fresh(index).to(noise) if index else noise
        images = generate(tried)
        rewards = reward(images)
        check_rewards(rewards, len(noise), index)
        curve.append(rewards)
        best = keep_best(best, tried, images, rewards, index)
        if on_step:
            on_step(RenoStep(index, config.iterations, rewards, best.rewards, images, torch.zeros_like(rewards)))
    return best, curve
