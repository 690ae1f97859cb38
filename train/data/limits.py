"""How well anyone could predict an agent: the limits every accuracy is read against.

The true utility (only the choice's own noise is left), the ideal observer (knows the simulator's prior and the same
pairs), and a Bradley-Terry regression on the true attributes (knows the same pairs, and sees without error).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from train.data.agents import World, utility_of
from train.data.posterior import differences, laplace, posterior_predictive, sigmoid

# For each agent. With 8 pairs a probability's Monte-Carlo error is then .004 (root mean square over targets; the
# largest .01), and 10,000 agents of 8 targets take 25 s of one slow core.
PARTICLES = 4096
PENALTIES = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0)


@dataclass(frozen=True)
class Limit:
    """An accuracy and its standard error over agents."""

    accuracy: float
    stderr: float


def ideal_observer(
    world: World, history: np.ndarray, targets: np.ndarray, rng: np.random.Generator, particles: int = PARTICLES
) -> np.ndarray:
    """Posterior predictive P(first preferred) of one who knows the world's prior and the agent's pairs.

    Args:
        history: (n, pairs, 2, 6) attribute indices, liked first; `pairs` may be 0.
        targets: (n, m, 2, 6).
        particles: for each agent. `posterior_predictive` also gives each probability's Monte-Carlo error.
    Returns:
        (n, m) probabilities that the first image of each target pair is preferred.
    """
    return posterior_predictive(world, history, targets, rng, particles).probability


def bradley_terry(history: np.ndarray, targets: np.ndarray, penalty: float) -> np.ndarray:
    """P(first preferred) by each agent's own logistic regression on its pairs' true attributes.

    Args:
        history: (n, pairs, 2, 6) attribute indices, liked first; `pairs` may be 0 (then every answer is 0.5).
        targets: (n, m, 2, 6).
        penalty: L2, `penalty` / 2 x the squared norm of the 24 weights. See `choose_penalty`.
    Returns:
        (n, m) probabilities. Raises ValueError for a penalty that is not positive: the fit would not exist.
    """
    if not penalty > 0:
        raise ValueError(f"the penalty is {penalty}, expected a positive number: choices can be separated without it")
    seen, asked = differences(history), differences(targets)
    # The regression's optimum is the mode under a prior of variance 1 / penalty, found in the space of the pairs.
    covariance = seen @ seen.transpose(0, 2, 1) / penalty
    weights = np.einsum("nkv,nk->nv", seen, laplace(covariance, np.zeros(seen.shape[:2])).slope) / penalty
    return sigmoid(np.einsum("nmv,nv->nm", asked, weights))


def choose_penalty(history: np.ndarray, targets: np.ndarray, penalties: tuple[float, ...] = PENALTIES) -> float:
    """The penalty that predicts most of validation users' choices; their `targets` are liked first."""
    return max(penalties, key=lambda penalty: limit(bradley_terry(history, targets, penalty)).accuracy)


def limit(probability: np.ndarray, chosen: np.ndarray | bool = True) -> Limit:
    """Accuracy of P(first preferred), (n, m), against choices (n, m), or all of the first image; an even 0.5 is half
    right. The standard error is over agents, whose targets are not independent."""
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
    """The limits of one set of agents, given their history and target pairs, both liked first.

    Args:
        utilities: (n, 24). history: (n, pairs, 2, 6). targets: (n, m, 2, 6). penalty: from `choose_penalty`.
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
