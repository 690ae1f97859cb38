"""Laplace's approximation of a Bayesian logistic regression, in the space of the observations or of the weights.

Notation (docs/paper-index.md, section 5): f are the logits of the n observations, t their targets, r their weights,
p = sigmoid(f), W = r p (1 - p). The log posterior is

    sum r (t f - log(1 + e^f)) - (w - mu)' S^-1 (w - mu) / 2.

`fit_in_observations` is algorithm 3.1 of Rasmussen and Williams, Gaussian Processes for Machine Learning (2006). A step
costs n^3 / 3. `fit_in_weights` is Newton's method for w, for more observations than weights.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .prior import TastePrior

MAX_STEPS = 50
TOLERANCE = 1e-6
"""Newton's method ends when no logit changes by more."""

JITTER = 1e-9


@dataclass(frozen=True)
class LogisticTargets:
    """The data of a logistic likelihood: offsets of the logits, targets and weights, each (n,)."""

    offsets: Tensor
    targets: Tensor
    weights: Tensor

    def log_likelihood(self, deviations: Tensor) -> Tensor:
        """Return sum r (t f - log(1 + e^f)) for f = offsets + deviations."""
        logits = self.offsets + deviations
        return (self.weights * (self.targets * logits - F.softplus(logits))).sum()

    def derivatives(self, deviations: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gradient r (t - p) with respect to the logits and the curvature W, each (n,)."""
        p = torch.sigmoid(self.offsets + deviations)
        return self.weights * (self.targets - p), self.weights * p * (1 - p)


@dataclass(frozen=True)
class ObservationMode:
    """The mode in the space of the observations.

    Attributes:
        residuals: a = r (t - p), (n,). The weights are mu + S X' a.
        deviations: Logits minus their offsets, K a, (n,).
        root_curvature: W^1/2, (n,).
        cholesky: Lower factor of I + W^1/2 K W^1/2, (n, n).
        log_evidence: Logarithm of the approximate marginal likelihood.
    """

    residuals: Tensor
    deviations: Tensor
    root_curvature: Tensor
    cholesky: Tensor
    log_evidence: float


def fit_in_observations(
    kernel: Tensor, data: LogisticTargets, start: Tensor | None = None, tolerance: float = TOLERANCE
) -> ObservationMode:
    """Find the mode (algorithm 3.1).

    Args:
        kernel: K = X S X', (n, n).
        data: The observations. Their offsets include X mu.
        start: Residuals to start from, (n,), for example those of a similar kernel.
        tolerance: Largest change of a logit at which Newton's method ends.
    """
    identity = torch.eye(len(kernel), dtype=kernel.dtype)
    residuals = torch.zeros_like(data.targets) if start is None else start
    deviations = kernel @ residuals
    objective = data.log_likelihood(deviations) - residuals @ deviations / 2
    for _ in range(MAX_STEPS):
        gradient, curvature = data.derivatives(deviations)
        root = curvature.sqrt()
        cholesky = torch.linalg.cholesky(identity + root[:, None] * kernel * root)
        b = curvature * deviations + gradient
        newton = b - root * torch.cholesky_solve((root * (kernel @ b))[:, None], cholesky)[:, 0]
        step, size = newton - residuals, 1.0
        while size > 1e-3:  # a full step can overshoot far from the mode
            proposed = residuals + size * step
            moved = kernel @ proposed
            value = data.log_likelihood(moved) - proposed @ moved / 2
            if value >= objective - TOLERANCE * max(1.0, abs(float(objective))):
                break
            size /= 2
        change = (moved - deviations).abs().max()
        residuals, deviations, objective = proposed, moved, value
        if change <= tolerance:
            break
    evidence = float(objective - cholesky.diagonal().log().sum())
    return ObservationMode(residuals, deviations, root, cholesky, evidence)


@dataclass(frozen=True)
class WeightMode:
    """The mode in the space of the weights. All fields may have leading dimensions: one for each of several people.

    Attributes:
        weights: w, (..., D).
        cholesky: Lower factor of the precision X' W X + S^-1, (..., D, D).
        log_evidence: Logarithm of the approximate marginal likelihood, (...).
    """

    weights: Tensor
    cholesky: Tensor
    log_evidence: Tensor


def fit_in_weights(rows: Tensor, data: LogisticTargets, prior: TastePrior) -> WeightMode:
    """Find the mode by Newton's method.

    Args:
        rows: X, (..., n, D). Leading dimensions are people, who share the prior. People with fewer observations have
            rows with weight 0.
        data: The observations, (..., n). Their offsets do not include X mu.
        prior: mu and S.
    """
    covariance = prior.covariance()
    covariance = covariance + JITTER * covariance.diagonal().mean() * torch.eye(len(covariance), dtype=rows.dtype)
    prior_cholesky = torch.linalg.cholesky(covariance)
    precision = torch.cholesky_inverse(prior_cholesky)
    weights = prior.mean.expand(*rows.shape[:-2], -1)
    value = _log_posterior(rows, data, weights, prior.mean, precision)
    for _ in range(MAX_STEPS):
        gradient, curvature = data.derivatives(_logits(rows, weights))
        hessian = rows.mT @ (curvature[..., None] * rows) + precision
        cholesky = torch.linalg.cholesky(hessian)
        ascent = (gradient[..., None, :] @ rows)[..., 0, :] - (weights - prior.mean) @ precision
        step = torch.cholesky_solve(ascent[..., None], cholesky)[..., 0]
        size = torch.ones_like(value)
        for _ in range(10):  # halve the step of each person whose log posterior would fall
            proposed = weights + size[..., None] * step
            moved = _log_posterior(rows, data, proposed, prior.mean, precision)
            falls = moved < value - TOLERANCE
            if not falls.any():
                break
            size = torch.where(falls, size / 2, size)
        change = (_logits(rows, proposed) - _logits(rows, weights)).abs().max()
        weights, value = proposed, moved
        if change <= TOLERANCE:
            break
    log_determinant = cholesky.diagonal(dim1=-2, dim2=-1).log().sum(-1) + prior_cholesky.diagonal().log().sum()
    return WeightMode(weights, cholesky, value - log_determinant)


def _logits(rows: Tensor, weights: Tensor) -> Tensor:
    return (rows @ weights[..., None])[..., 0]


def _log_posterior(rows: Tensor, data: LogisticTargets, weights: Tensor, mean: Tensor, precision: Tensor) -> Tensor:
    logits, deviation = data.offsets + _logits(rows, weights), weights - mean
    likelihood = (data.weights * (data.targets * logits - F.softplus(logits))).sum(-1)
    return likelihood - ((deviation @ precision) * deviation).sum(-1) / 2
