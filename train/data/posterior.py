"""What is known of agents after their choices: the posterior over utilities, by importance sampling around Laplace's.

Given its group an agent's utilities are Gaussian, and a choice depends on the gap between two utilities, which is
linear in them. So for every agent and group Laplace's method gives a Gaussian close to the posterior; particles are
drawn from it (and a few from the prior, which bounds their weights) and weighted by prior x likelihood / proposal.
Draws are shared by the agents of a batch: their gaps are one matrix product. All gaps here are in units of the
temperature (logits).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from train.data.agents import World
from train.data.posters import ATTRIBUTES, TASTE

PRIOR_SHARE = 0.1  # of the particles: no weight exceeds 10 x the likelihood, where Laplace's tails are too light
_NEWTON_STEPS = 40
_CONVERGED = 1e-9  # logits
_HELD = 2**20  # numbers in an array of particles: agents are taken in batches of about that
_LARGEST = 80.0  # the largest exponent taken in float32


@dataclass(frozen=True)
class Predicted:
    """probability (n, m): of preferring each target's first image. stderr (n, m): its Monte-Carlo standard error."""

    probability: np.ndarray
    stderr: np.ndarray


def differences(pairs: np.ndarray) -> np.ndarray:
    """Pairs' attribute indices (..., 2, 6) -> what u(first) - u(second) takes of each taste value, (..., 24)."""
    shown = [np.eye(len(ATTRIBUTES[name]))[pairs[..., i]] for i, name in enumerate(ATTRIBUTES) if name in TASTE]
    one_hot = np.concatenate(shown, axis=-1)
    return one_hot[..., 0, :] - one_hot[..., 1, :]


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """1 / (1 + e^-x), in the input's own precision."""
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
        """I + W^1/2 K W^1/2, (..., k, k): well conditioned even where two pairs are alike."""
        root = np.sqrt(self.curvature)
        return np.eye(root.shape[-1]) + root[..., :, None] * covariance * root[..., None, :]


def laplace(covariance: np.ndarray, mean: np.ndarray) -> Laplace:
    """Newton's method in the space of the gaps, for a batch (Rasmussen and Williams, Gaussian Processes, alg. 3.1).

    Args:
        covariance: (..., k, k) of the gaps under the prior. mean: (..., k).
    """
    shape = np.broadcast_shapes(covariance.shape[:-1], mean.shape)
    found = Laplace(np.zeros(shape), np.zeros(shape), np.broadcast_to(mean, shape))
    for _ in range(_NEWTON_STEPS):
        chosen = sigmoid(found.mode)
        found = Laplace(found.slope, chosen * (1 - chosen), found.mode)
        if not np.any(np.abs(1 - chosen - found.slope) > _CONVERGED):
            return found
        root = np.sqrt(found.curvature)
        wanted = found.curvature * (found.mode - mean) + 1 - chosen
        pulled = root * (covariance @ wanted[..., None])[..., 0]
        slope = wanted - root * np.linalg.solve(found.whitened(covariance), pulled[..., None])[..., 0]
        found = Laplace(slope, found.curvature, mean + (covariance @ slope[..., None])[..., 0])
    return found


def posterior_predictive(
    world: World, history: np.ndarray, targets: np.ndarray, rng: np.random.Generator, particles: int
) -> Predicted:
    """P(first preferred | the history and the world's prior), for any number of agents.

    Args:
        history: (n, pairs, 2, 6) attribute indices, liked first; `pairs` may be 0.
        targets: (n, m, 2, 6).
        particles: for each agent, over all groups.
    """
    batch = max(1, _HELD // (particles * (1 + history.shape[1] + targets.shape[1])))
    parts = [
        _predict(world, differences(history[i : i + batch]), differences(targets[i : i + batch]), rng, particles)
        for i in range(0, len(history), batch)
    ]
    empty = np.empty(targets.shape[:2])
    return Predicted(*(np.concatenate(part) for part in zip(*parts, strict=True))) if parts else Predicted(empty, empty)


def _predict(world: World, seen: np.ndarray, asked: np.ndarray, rng: np.random.Generator, particles: int):
    """One batch: differences seen (B, k, 24) and asked (B, m, 24) -> probability and standard error, (B, m)."""
    pairs, draws = seen.shape[1], max(1, particles // (2 * world.groups))
    seen, asked = seen / world.temperature, asked / world.temperature
    both = np.concatenate([seen, asked], axis=1)
    deviation = world.individual * world.scale
    shared = (seen * deviation**2) @ both.transpose(0, 2, 1)  # (B, k, k + m), the prior's covariance in every group
    mean = np.einsum("bkv,gv->bgk", both, world.means)
    near = laplace(shared[:, None, :, :pairs], mean[..., :pairs])
    log_weight, gaps = _draw(near, mean, shared[:, None], both * deviation, rng, draws)
    with np.errstate(under="ignore"):
        weight = np.exp(log_weight - log_weight.max((1, 2), keepdims=True))[..., None]
    total = weight.sum((1, 2), dtype=np.float64)  # float32 would round thousands of addends away, all one way
    preferred = sigmoid(gaps)
    probability = (weight * preferred).sum((1, 2), dtype=np.float64) / total
    # Delta method over independent draws: each draw and its mirror image are used in every group.
    error = (weight * (preferred - probability[:, None, None].astype(np.float32))).sum(1)
    error = error[:, :draws] + error[:, draws:]
    return probability, np.sqrt(np.square(error).sum(1)) / total


def _draw(
    near: Laplace, mean: np.ndarray, shared: np.ndarray, scaled: np.ndarray, rng: np.random.Generator, draws: int
):
    """Particles of every group: log-weights (B, groups, 2 draws) and the targets' gaps (B, groups, 2 draws, m).

    A particle of the proposal is made of one of the prior (Matheron's rule): x - C^T W^1/2 (I + W^1/2 K W^1/2)^-1
    (W^1/2 x_seen + noise), with C = `shared`, whose first k columns are K.
    """
    pairs = shared.shape[-2]
    covariance, root = shared[..., :pairs], np.sqrt(near.curvature)
    whitened = near.whitened(covariance)
    pull = np.linalg.solve(whitened, root[..., None] * shared)  # (B, groups, k, k + m)
    centre = mean + (near.slope[..., None, :] @ shared)[..., 0, :]
    lift = (near.slope * (near.mode - mean[..., :pairs])).sum(-1)  # slope^T K slope
    log_z = -(np.linalg.slogdet(whitened)[1] + lift) / 2
    # Particles are many: float32 from here on.
    root, pull, centre, mean, mode, slope, curvature, log_z = (
        x.astype(np.float32)[:, :, None] if x is not pull else x.astype(np.float32)
        for x in (root, pull, centre, mean, near.mode, near.slope, near.curvature, log_z)
    )
    prior = (_mirrored(draws, scaled.shape[-1], rng) @ scaled.transpose(0, 2, 1).astype(np.float32))[:, None]
    noise = _mirrored(draws, pairs, rng)
    plain = (np.arange(2 * draws) % draws < round(PRIOR_SHARE * draws))[:, None]  # a draw and its image are of one kind
    gaps = np.where(plain, prior + mean, prior + centre - (prior[..., :pairs] * root + noise) @ pull)
    seen = gaps[..., :pairs]
    moved = seen - mode
    ratio = (moved * (slope - curvature * moved / 2)).sum(-1) - log_z  # log of proposal / prior
    share = plain.mean(dtype=np.float32)
    mixture = np.log(share + (1 - share) * np.exp(np.minimum(ratio, _LARGEST)))
    return np.log(sigmoid(seen)).sum(-1) - mixture, gaps[..., pairs:]


def _mirrored(draws: int, columns: int, rng: np.random.Generator) -> np.ndarray:
    """Standard normal draws, each followed `draws` rows later by its mirror image: (2 draws, columns)."""
    half = rng.standard_normal((draws, columns), np.float32)
    return np.concatenate([half, -half])
