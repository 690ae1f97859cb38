"""Limits of the prediction of agents, to which all accuracies are compared.

- The true utility: only the noise of choices remains.
- The ideal observer, who knows the simulator's prior and the same pairs.
- A Bradley-Terry regression on the true attributes of the same pairs.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from train.data.agents import World, utility_of
from train.data.posterior import differences, laplace, posterior_predictive, sigmoid

# Per agent. With 8 pairs the Monte Carlo error of a probability is .004 (root mean square over targets; maximum .01).
# 10,000 agents with 8 targets take 25 s on a slow core.
PARTICLES = 4096
PENALTIES = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0)


@dataclass(frozen=True)
class Limit:
    """An accuracy with its standard error over agents."""

    accuracy: float
    stderr: float


def ideal_observer(
    world: World, history: np.ndarray, targets: np.ndarray, rng: np.random.Generator, particles: int = PARTICLES
) -> np.ndarray:
    """Compute P(first preferred) of an observer who knows the world's prior and each agent's pairs.

    Args:
        world: Population of the agents.
        history: Attribute indices (n, pairs, 2, 6), liked first. `pairs` may be 0.
        targets: Attribute indices (n, m, 2, 6).
        rng: Random generator.
        particles: Particles per agent. `posterior_predictive` also returns Monte Carlo errors.

    Returns:
        Probabilities (n, m) that the first image of each target pair is preferred.
    """
    return posterior_predictive(world, history, targets, rng, particles).probability


def bradley_terry(history: np.ndarray, targets: np.ndarray, penalty: float) -> np.ndarray:
    """Compute P(first preferred) with a logistic regression for each agent on the true attributes of its pairs.

    Args:
        history: Attribute indices (n, pairs, 2, 6), liked first. With 0 pairs every probability is 0.5.
        targets: Attribute indices (n, m, 2, 6).
        penalty: L2 penalty: `penalty` / 2 times the squared norm of the 24 weights. See `choose_penalty`.

    Returns:
        Probabilities (n, m).

    Raises:
        ValueError: The penalty is not positive. Separable choices then have no optimum.
    """
    if not penalty > 0:
        raise ValueError(f"penalty is {penalty}; expected a positive number.")
    rows, target_rows = differences(history), differences(targets)
    # The optimum is the mode under a prior with variance 1 / penalty, computed in the space of the pairs.
    covariance = rows @ rows.transpose(0, 2, 1) / penalty
    weights = np.einsum("nkv,nk->nv", rows, laplace(covariance, np.zeros(rows.shape[:2])).slope) / penalty
    return sigmoid(np.einsum("nmv,nv->nm", target_rows, weights))


def choose_penalty(history: np.ndarray, targets: np.ndarray, penalties: tuple[float, ...] = PENALTIES) -> float:
    """Return the penalty with the best accuracy on validation users, whose `targets` are liked first."""
    return max(penalties, key=lambda penalty: limit(bradley_terry(history, targets, penalty)).accuracy)


def limit(probability: np.ndarray, chosen: np.ndarray | bool = True) -> Limit:
    """Return the accuracy of P(first preferred), (n, m), with its standard error.

    The standard error is over agents, because the targets of an agent are not independent. A probability of 0.5 counts
    as half correct.

    Args:
        probability: Probabilities (n, m).
        chosen: Whether the first image was preferred, (n, m), or True for all.
    """
    right = np.where(probability == 0.5, 0.5, (probability > 0.5) == chosen).mean(1)
    return Limit(float(right.mean()), float(right.std(ddof=min(1, len(right) - 1)) / np.sqrt(len(right))))


def limits(
    world: World,
    utilities: np.ndarray,
    history: np.ndarray,
    targets: np.ndarray,
    penalty: float,
    rng: np.random.Generator,
    particles: int = PARTICLES,
) -> dict[str, dict[str, float]]:
    """Compute the limits of agents from their history and target pairs, both liked first.

    Args:
        world: Population of the agents.
        utilities: Utilities (n, 24).
        history: Attribute indices (n, pairs, 2, 6).
        targets: Attribute indices (n, m, 2, 6).
        penalty: Penalty from `choose_penalty`.
        rng: Random generator.
        particles: Particles per agent.

    Returns:
        `true_utility`, `ideal_observer`, `ideal_no_history` and `bradley_terry`, each {"accuracy", "stderr"}.
    """
    u = utility_of(utilities[:, None, None], targets)
    answers = {
        "true_utility": world.probability(u[..., 0] - u[..., 1]),
        "ideal_observer": ideal_observer(world, history, targets, rng, particles),
        "ideal_no_history": ideal_observer(world, history[:, :0], targets, rng, particles),
        "bradley_terry": bradley_terry(history, targets, penalty),
    }
    return {name: asdict(limit(probability)) for name, probability in answers.items()}
