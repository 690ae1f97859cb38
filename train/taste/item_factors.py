"""Learns features of items from a population's ratings: probabilistic PCA of a matrix with missing ratings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ItemFactors:
    """A linear model of ratings: rating of item j by person p = mean_j + factors_j . z_p + noise, with z_p ~ N(0, I).

    One factor can stand for the person's own mean, because all its loadings may be equal.

    Attributes:
        means: Mean rating of each item, (items,).
        factors: Loadings of each item, (items, k).
        noise: Standard deviation of the noise.
    """

    means: np.ndarray
    factors: np.ndarray
    noise: float


def fit_item_factors(ratings: np.ndarray, rank: int, iterations: int = 40, seed: int = 0) -> ItemFactors:
    """Fit the model by expectation maximisation (Tipping and Bishop, 1999, with missing values).

    The loadings have a normal prior whose variance is estimated, too: items with few ratings stay near the mean.

    Args:
        ratings: Matrix (people, items) with NaN for missing ratings.
        rank: Number of factors k.
        iterations: Number of iterations.
        seed: Seed of the initial loadings.
    """
    observed = np.isfinite(ratings)
    counts = np.maximum(observed.sum(0), 1)
    values = np.where(observed, ratings, 0.0)
    overall = values.sum() / observed.sum()
    means = (values.sum(0) + overall) / (counts + 1)
    factors = np.random.default_rng(seed).normal(0, 0.1, (ratings.shape[1], rank))
    factors[:, 0] += 0.5  # begins as the person's mean
    variance = np.where(observed, (ratings - means) ** 2, 0).sum() / observed.sum()
    prior_precision = np.full(rank + 1, 1.0)
    for _ in range(iterations):
        # E step: posterior of each person's z, of which the M step needs the mean and the second moment.
        residuals = np.where(observed, values - means, 0.0)
        precision = np.eye(rank) + np.einsum("pj,jk,jl->pkl", observed, factors, factors, optimize=True) / variance
        covariances = np.linalg.inv(precision)
        z = np.einsum("pkl,pl->pk", covariances, residuals @ factors / variance)
        extended = np.concatenate([z, np.ones((len(z), 1))], axis=1)
        moments = extended[:, :, None] * extended[:, None, :]
        moments[:, :rank, :rank] += covariances
        # M step: ridge regression of each item's ratings on z and 1, for its loadings and its mean.
        gram = np.einsum("pj,pkl->jkl", observed, moments, optimize=True)
        center = np.r_[np.zeros(rank), overall]
        target = values.T @ extended - gram @ center
        solution = np.linalg.solve(gram + variance * np.diag(prior_precision), target[..., None])[..., 0]
        uncertainty = variance * np.linalg.inv(gram + variance * np.diag(prior_precision))
        prior_precision = len(solution) / (solution**2 + np.einsum("jkk->jk", uncertainty)).sum(0)
        factors, means = solution[:, :rank], solution[:, rank] + overall
        predictions = z @ factors.T + means
        spread = np.einsum("jk,pkl,jl->pj", factors, covariances, factors, optimize=True)
        variance = np.where(observed, (values - predictions) ** 2 + spread, 0).sum() / observed.sum()
    return ItemFactors(means, factors, float(np.sqrt(variance)))
