"""Learns the prior of the taste head from a population of raters, by empirical Bayes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from prefgen.taste.laplace import LogisticTargets, fit_in_weights
from prefgen.taste.prior import TastePrior


def fit_population_prior(
    rows: Tensor,
    data: LogisticTargets,
    iterations: int = 20,
    initial_scale: float = 2.0,
    prior_people: float = 5.0,
    report: Callable[[int], object] = lambda iteration: None,
) -> TastePrior:
    """Fit the mean and the covariance of people's weights by EM, with Laplace's approximation of each posterior.

    Args:
        rows: Scaled features of the rated images with a last column of 1 for the bias, (people, n, D + 1). People with
            fewer ratings have rows with weight 0.
        data: Their ratings, (people, n).
        iterations: Number of EM iterations.
        initial_scale: Standard deviation of each weight before the first iteration.
        prior_people: Number of people that the initial covariance counts as in every iteration. It keeps the covariance
            from collapsing in a small population (our choice).
        report: Called after each iteration.

    Returns:
        The prior. Its covariance is dense: its diagonal part is 0.
    """
    width = rows.shape[-1]
    initial = initial_scale**2 * torch.eye(width, dtype=rows.dtype)
    mean, covariance = rows.new_zeros(width), initial
    for iteration in range(iterations):
        mode = fit_in_weights(rows, data, _dense_prior(mean, covariance))
        mean = mode.weights.mean(0)
        deviations = mode.weights - mean
        posterior = torch.cholesky_inverse(mode.cholesky).sum(0)
        covariance = (deviations.T @ deviations + posterior + prior_people * initial) / (len(rows) + prior_people)
        report(iteration)
    return _dense_prior(mean, covariance)


def _dense_prior(mean: Tensor, covariance: Tensor) -> TastePrior:
    return TastePrior(mean, torch.zeros_like(mean), torch.linalg.cholesky(covariance))
