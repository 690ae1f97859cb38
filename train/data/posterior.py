"""Posterior predictive of agents after their choices, by importance sampling around Laplace's approximation.

Given the group, an agent's utilities are Gaussian, and a choice depends on a linear function of them: the difference
(gap) of two utilities. So for every agent and group, Laplace's method gives a Gaussian close to the posterior.
Particles are drawn from it, and a few from the prior to bound the weights. Their weights are prior x likelihood /
proposal. The agents of a batch share draws, so that all gaps are one matrix product. Gaps are in units of the
temperature (logits).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from train.data.agents import World
from train.data.posters import ATTRIBUTES, TASTE

PRIOR_SHARE = 0.1  # share of particles from the prior; bounds weights to 10 x the likelihood in the tails
_NEWTON_STEPS = 40
_CONVERGED = 1e-9  # logits
_HELD = 2**20  # approximate number of elements in an array of particles; determines the batch size
_LARGEST = 80.0  # largest exponent in float32


@dataclass(frozen=True)
class Predicted:
    """Probabilities (n, m) of preferring the first image of each target, with Monte Carlo standard errors (n, m)."""

    probability: np.ndarray
    stderr: np.ndarray


def differences(pairs: np.ndarray) -> np.ndarray:
    """Return the coefficients (..., 24) of u(first) - u(second) for pairs of attribute indices (..., 2, 6)."""
    one_hots = [np.eye(len(ATTRIBUTES[name]))[pairs[..., i]] for i, name in enumerate(ATTRIBUTES) if name in TASTE]
    one_hot = np.concatenate(one_hots, axis=-1)
    return one_hot[..., 0, :] - one_hot[..., 1, :]


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Return 1 / (1 + e^-x) in the precision of the input."""
    return 1 / (1 + np.exp(np.minimum(-logits, _LARGEST)))


@dataclass(frozen=True)
class Laplace:
    """A Gaussian around the mode of prior N(mean, K) x prod_i sigmoid(x_i), over k observed gaps x.

    The proposal is prior x prod_i exp(slope_i d_i - curvature_i d_i^2 / 2), d = x - mode, mode = mean + K slope. Any
    `slope` makes a proposal; Laplace's is the gradient of the log-likelihood at the mode. All (..., k).
    """

    slope: np.ndarray
    curvature: np.ndarray
    mode: np.ndarray

    def whitened(self, covariance: np.ndarray) -> np.ndarray:
        """Return I + W^1/2 K W^1/2, (..., k, k), which is well conditioned even if two pairs are equal."""
        root = np.sqrt(self.curvature)
        return np.eye(root.shape[-1]) + root[..., :, None] * covariance * root[..., None, :]


def laplace(covariance: np.ndarray, mean: np.ndarray) -> Laplace:
    """Find the mode with Newton's method in the space of the gaps (Rasmussen & Williams, Gaussian Processes, alg. 3.1).

    Args:
        covariance: Prior covariance of the gaps, (..., k, k).
        mean: Prior mean of the gaps, (..., k).
    """
    shape = np.broadcast_shapes(covariance.shape[:-1], mean.shape)
    approximation = Laplace(np.zeros(shape), np.zeros(shape), np.broadcast_to(mean, shape))
    for _ in range(_NEWTON_STEPS):
        chosen = sigmoid(approximation.mode)
        approximation = Laplace(approximation.slope, chosen * (1 - chosen), approximation.mode)
        if not np.any(np.abs(1 - chosen - approximation.slope) > _CONVERGED):
            return approximation
        root = np.sqrt(approximation.curvature)
        linear_term = approximation.curvature * (approximation.mode - mean) + 1 - chosen
        projected = root * (covariance @ linear_term[..., None])[..., 0]
        slope = linear_term - root * np.linalg.solve(approximation.whitened(covariance), projected[..., None])[..., 0]
        approximation = Laplace(slope, approximation.curvature, mean + (covariance @ slope[..., None])[..., 0])
    return approximation


def posterior_predictive(
    world: World, history: np.ndarray, targets: np.ndarray, rng: np.random.Generator, particles: int
) -> Predicted:
    """Compute P(first preferred) given the history and the world's prior, for any number of agents.

    Args:
        world: Population of the agents.
        history: Attribute indices (n, pairs, 2, 6), liked first. `pairs` may be 0.
        targets: Attribute indices (n, m, 2, 6).
        rng: Random generator.
        particles: Particles per agent, over all groups.
    """
    batch = max(1, _HELD // (particles * (1 + history.shape[1] + targets.shape[1])))
    parts = [
        _predict(world, differences(history[i : i + batch]), differences(targets[i : i + batch]), rng, particles)
        for i in range(0, len(history), batch)
    ]
    empty = np.empty(targets.shape[:2])
    return Predicted(*(np.concatenate(part) for part in zip(*parts, strict=True))) if parts else Predicted(empty, empty)


def _predict(world: World, seen: np.ndarray, targets: np.ndarray, rng: np.random.Generator, particles: int):
    """Process a batch of history pairs (B, k, 24) and targets (B, m, 24). Returns probabilities and errors (B, m)."""
    pairs, draws = seen.shape[1], max(1, particles // (2 * world.groups))
    seen, targets = seen / world.temperature, targets / world.temperature
    both = np.concatenate([seen, targets], axis=1)
    deviation = world.individual * world.scale
    shared = (seen * deviation**2) @ both.transpose(0, 2, 1)  # (B, k, k + m), the prior's covariance in every group
    mean = np.einsum("bkv,gv->bgk", both, world.means)
    near = laplace(shared[:, None, :, :pairs], mean[..., :pairs])
    log_weight, gaps = _draw(near, mean, shared[:, None], both * deviation, rng, draws)
    with np.errstate(under="ignore"):
        weight = np.exp(log_weight - log_weight.max((1, 2), keepdims=True))[..., None]
    total = weight.sum((1, 2), dtype=np.float64)  # a float32 sum would lose thousands of small addends
    preferred = sigmoid(gaps)
    probability = (weight * preferred).sum((1, 2), dtype=np.float64) / total
    # Delta method over independent draws: each draw and its mirror image are used in every group.
    error = (weight * (preferred - probability[:, None, None].astype(np.float32))).sum(1)
    error = error[:, :draws] + error[:, draws:]
    return probability, np.sqrt(np.square(error).sum(1)) / total


def _draw(
    near: Laplace, mean: np.ndarray, shared: np.ndarray, scaled: np.ndarray, rng: np.random.Generator, draws: int
):
    """Draw particles of every group: log-weights (B, groups, 2 draws) and gaps of targets (B, groups, 2 draws, m).

    A particle of the proposal is computed from one of the prior (Matheron's rule): x - C^T W^1/2 (I + W^1/2 K W^1/2)^-1
    (W^1/2 x_seen + noise), with C = `shared`, whose first k columns are K.
    """
    pairs = shared.shape[-2]
    covariance, root = shared[..., :pairs], np.sqrt(near.curvature)
    whitened = near.whitened(covariance)
    pull = np.linalg.solve(whitened, root[..., None] * shared)  # (B, groups, k, k + m)
    centre = mean + (near.slope[..., None, :] @ shared)[..., 0, :]
    lift = (near.slope * (near.mode - mean[..., :pairs])).sum(-1)  # slope^T K slope
    log_z = -(np.linalg.slogdet(whitened)[1] + lift) / 2
    # Float32 from here on, because there are many particles.
    root, pull, centre, mean, mode, slope, curvature, log_z = (
        x.astype(np.float32)[:, :, None] if x is not pull else x.astype(np.float32)
        for x in (root, pull, centre, mean, near.mode, near.slope, near.curvature, log_z)
    )
    prior = (_mirrored(draws, scaled.shape[-1], rng) @ scaled.transpose(0, 2, 1).astype(np.float32))[:, None]
    noise = _mirrored(draws, pairs, rng)
    plain = (np.arange(2 * draws) % draws < round(PRIOR_SHARE * draws))[:, None]  # same for a draw and its mirror image
    gaps = np.where(plain, prior + mean, prior + centre - (prior[..., :pairs] * root + noise) @ pull)
    seen = gaps[..., :pairs]
    moved = seen - mode
    ratio = (moved * (slope - curvature * moved / 2)).sum(-1) - log_z  # log of proposal / prior
    share = plain.mean(dtype=np.float32)
    mixture = np.log(share + (1 - share) * np.exp(np.minimum(ratio, _LARGEST)))
    return np.log(sigmoid(seen)).sum(-1) - mixture, gaps[..., pairs:]


def _mirrored(draws: int, columns: int, rng: np.random.Generator) -> np.ndarray:
    """Return standard normal draws followed by their mirror images, (2 draws, columns)."""
    half = rng.standard_normal((draws, columns), np.float32)
    return np.concatenate([half, -half])
