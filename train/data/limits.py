"""How well anyone could predict an agent: the limits every accuracy is read against."""

from __future__ import annotations

import numpy as np

from train.data.agents import World, utility_of


def ideal_observer(world: World, history: np.ndarray, targets: np.ndarray, rng, particles: int = 100_000) -> np.ndarray:
    """Posterior predictive P(first preferred) of one who knows the world's prior and the agent's pairs.

    Importance sampling from the prior: eight binary choices leave hundreds of effective particles.

    Args:
        history: (n, pairs, 2, 6) attribute indices, liked first; `pairs` may be 0.
        targets: (n, m, 2, 6).
    Returns:
        (n, m) probabilities that the first image of each target pair is preferred.
    """
    prior, _ = world.sample(particles, rng)
    answers = np.empty(targets.shape[:2])
    for i, (pairs, target) in enumerate(zip(history, targets, strict=True)):
        seen = utility_of(prior[:, None, None, :], pairs[None])  # (particles, pairs, 2)
        weight = world.probability(seen[..., 0] - seen[..., 1]).prod(1)
        u = utility_of(prior[:, None, None, :], target[None])
        answers[i] = weight @ world.probability(u[..., 0] - u[..., 1]) / weight.sum()
    return answers
