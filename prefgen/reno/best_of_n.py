"""Best of N: compares several initial noises without gradients. The optimisation then starts from the best."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..errors import RewardError
from .config import RenoConfig
from .result import RenoResult, RenoStep, require_rewards, update_best

Generate = Callable[[Tensor], Tensor]
"""A generator: noise (B, ...) to images (B, 3, H, W)."""
Reward = Callable[[Tensor], Tensor]
"""A reward: images (B, 3, H, W) to rewards (B,)."""


@torch.no_grad()
def best_of_n(
    noise: Tensor,
    generate: Generate,
    reward: Reward,
    config: RenoConfig,
    on_step: Callable[[RenoStep], None] | None,
    sample_noise: Callable[[int], Tensor] | None,
) -> tuple[RenoResult | None, list[Tensor]]:
    """Compare `config.num_initial_noises` noises, the given one first.

    Args: see `optimize_noise`.

    Returns:
        The best result of every row, and the rewards of all noises. (None, []) if there is only one noise.

    Raises:
        RewardError: `sample_noise` is missing, or a reward is invalid.
    """
    if config.num_initial_noises > 1 and sample_noise is None:
        raise RewardError(f"num_initial_noises is {config.num_initial_noises}; expected 1 without `sample_noise`.")
    best: RenoResult | None = None
    curve: list[Tensor] = []
    for index in range(config.num_initial_noises if config.num_initial_noises > 1 else 0):
        candidate = sample_noise(index).to(noise) if index else noise
        images = generate(candidate)
        rewards = reward(images)
        require_rewards(rewards, len(noise), index)
        curve.append(rewards)
        best = update_best(best, candidate, images, rewards, index)
        if on_step:
            on_step(RenoStep(index, config.iterations, rewards, best.rewards, images, torch.zeros_like(rewards)))
    return best, curve
