"""Fits the taste head, and predicts with it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..errors import ImageError
from ..validation import first_nonfinite, require
from .laplace import LogisticTargets, fit_in_observations, fit_in_weights
from .observations import Observations
from .prior import BIAS_SCALE, FeatureScaling, TastePrior, isotropic_prior

GRID_TOLERANCE = 1e-2
"""Accuracy of the logits, in which the evidence of two scales is compared."""


@dataclass(frozen=True)
class TasteConfig:
    """Settings of the taste head without a population prior.

    Attributes:
        scales: Standard deviations of the weights to choose from by evidence, ascending (our choice).
        typical_scale: Median of the log-normal hyperprior of the scale, which decides while there are few ratings.
        scale_spread: Standard deviation of the logarithm of the scale under the hyperprior.
        bias_scale: Standard deviation of the bias.
        max_evidence_observations: Newest observations on which scales are compared, to bound the time.
    """

    scales: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0, 8.0)
    typical_scale: float = 2.0
    scale_spread: float = 1.0
    bias_scale: float = BIAS_SCALE
    max_evidence_observations: int = 1500


@dataclass(frozen=True)
class TasteHead:
    """The posterior of one person's taste.

    The logit of liking an image with scaled features x is offset + weights . x + bias.

    Attributes:
        scaling: Scaling of the features.
        weights: Mode of the weights and, last, of the bias, (D + 1,).
        image_weights: What each rated image contributes: the signed sum of the residuals of its observations, (N,).
            Liked images pull (above 0), disliked ones push. An image that the prior predicts anyway gets little.
        scale: Standard deviation of the weights that the evidence chose; None with a population prior.
        log_evidence: Logarithm of the approximate marginal likelihood.
    """

    scaling: FeatureScaling
    weights: Tensor
    image_weights: Tensor
    scale: float | None
    log_evidence: float
    variance_of_rows: Callable[[Tensor], Tensor]

    def logits(self, features: Tensor, offsets: Tensor | float = 0.0) -> Tensor:
        """Return the mean logit of images. Differentiable with respect to the features.

        Args:
            features: Image features, (..., D).
            offsets: Logits of the mean function, for example PrefDisc's margin, (...).
        """
        return offsets + self.scaling.project(features, self.weights[:-1].to(features)) + float(self.weights[-1])

    def variance(self, features: Tensor) -> Tensor:
        """Return the posterior variance of the logit of images (N, D), (N,), computed in the dtype of the features."""
        return self.variance_of_rows(_with_bias(self.scaling.apply(features), features.new_ones(len(features))))

    def score(self, features: Tensor, offsets: Tensor | float = 0.0) -> Tensor:
        """Return the probability that the person likes each image (N, D), (N,): MacKay (1992), equation 10."""
        return torch.sigmoid(self.logits(features, offsets) / (1 + math.pi / 8 * self.variance(features)).sqrt())


def fit_taste(
    features: Tensor,
    observations: Observations,
    prior: TastePrior | None = None,
    scaling: FeatureScaling | None = None,
    offsets: Tensor | None = None,
    config: TasteConfig | None = None,
) -> TasteHead:
    """Fit the head to one person's ratings (docs/paper-index.md, section 5).

    Args:
        features: Features of the rated images, (N, D).
        observations: The ratings.
        prior: Prior learned from a population. None uses an isotropic one, whose scale the evidence chooses.
        scaling: Scaling of the features, which belongs to a population prior. None computes it from the rated images.
        offsets: Logits of the mean function for each image, (N,). They must not depend on the rating of the same
            image, or its evidence would count twice.
        config: Settings of the isotropic prior.

    Raises:
        ImageError: A feature is NaN or infinite.
    """
    require(first_nonfinite([("features", features)]) is None, ImageError, "Image features are NaN or infinite.")
    scaling = scaling or FeatureScaling.fit(features)
    rows = _with_bias(observations.differences(scaling.apply(features.double())), observations.is_single.double())
    image_offsets = torch.zeros(len(features), dtype=torch.float64) if offsets is None else offsets.double()
    data = LogisticTargets(observations.differences(image_offsets), observations.targets, observations.weights)
    scale = start = None
    if prior is None:
        config = config or TasteConfig()
        scale, start = choose_scale(rows, data, config)
        prior = isotropic_prior(features.shape[1], scale, config.bias_scale)
    if len(rows) <= rows.shape[1]:
        weights, residuals, evidence, variance = _fit_few(rows, data, prior, start)
    else:
        weights, residuals, evidence, variance = _fit_many(rows, data, prior)
    return TasteHead(scaling, weights, observations.sum_by_image(residuals, len(features)), scale, evidence, variance)


def choose_scale(rows: Tensor, data: LogisticTargets, config: TasteConfig) -> tuple[float, Tensor]:
    """Choose the scale of an isotropic prior with the highest evidence times hyperprior.

    Computes in single precision, which is enough to compare scales.

    Args:
        rows: X with a last column for the bias, (n, D + 1), oldest observation first.
        data: The observations.
        config: The scales and their hyperprior.

    Returns:
        The scale, and the residuals at its mode, (n,).
    """
    rows, offsets, targets, weights = (
        values[-config.max_evidence_observations :].float()
        for values in (rows, data.offsets, data.targets, data.weights)
    )
    data = LogisticTargets(offsets, targets, weights)
    by_features = rows[:, :-1] @ rows[:, :-1].T
    by_bias = config.bias_scale**2 * rows[:, -1:] * rows[:, -1]
    modes, residuals = [], None
    for scale in config.scales:
        mode = fit_in_observations(scale**2 * by_features + by_bias, data, residuals, GRID_TOLERANCE)
        residuals = mode.residuals
        surprise = math.log(scale / config.typical_scale) / config.scale_spread
        modes.append((mode.log_evidence - surprise**2 / 2, scale, residuals.double()))
    _, scale, residuals = max(modes, key=lambda mode: mode[0])
    return scale, residuals


def _fit_few(rows: Tensor, data: LogisticTargets, prior: TastePrior, start: Tensor | None) -> tuple:
    """Fit at most as many observations as weights, starting from residuals of a similar fit of the newest ones."""
    if start is not None:
        start = torch.cat([start.new_zeros(len(rows) - len(start)), start])
    spread = prior.times_covariance(rows)
    shifted = replace(data, offsets=data.offsets + rows @ prior.mean)
    mode = fit_in_observations(rows @ spread.T, shifted, start)

    def variance(queries: Tensor) -> Tensor:
        explained = (mode.root_curvature[:, None] * spread).to(queries) @ queries.T
        explained = torch.linalg.solve_triangular(mode.cholesky.to(queries), explained, upper=False)
        prior_variance = (queries * prior.to(queries).times_covariance(queries)).sum(-1)
        return (prior_variance - explained.square().sum(0)).clamp_min(0)

    return prior.mean + mode.residuals @ spread, mode.residuals, mode.log_evidence, variance


def _fit_many(rows: Tensor, data: LogisticTargets, prior: TastePrior) -> tuple:
    """Fit more observations than weights."""
    mode = fit_in_weights(rows, data, prior)
    residuals, _ = data.derivatives(rows @ mode.weights)

    def variance(queries: Tensor) -> Tensor:
        return torch.linalg.solve_triangular(mode.cholesky.to(queries), queries.T, upper=False).square().sum(0)

    return mode.weights, residuals, float(mode.log_evidence), variance


def _with_bias(rows: Tensor, bias: Tensor) -> Tensor:
    return torch.cat([rows, bias[:, None]], dim=1)
