"""The prior of the taste head: a normal distribution of linear weights, and the scaling of features it belongs to."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

BIAS_SCALE = 2.0
"""Standard deviation of the bias in logits: how far a person's share of likes may be from one half.

The value is our choice."""


@dataclass(frozen=True)
class FeatureScaling:
    """Scales image features: to unit length, then to mean 0 and a mean squared length of 1.

    Attributes:
        center: Mean of the features of unit length, (D,).
        scale: Root of their mean squared distance from `center`.
        unit_length: Whether features are first divided by their length, as those of CLIP should be.
    """

    center: Tensor
    scale: float
    unit_length: bool = True

    @classmethod
    def fit(cls, features: Tensor) -> FeatureScaling:
        """Compute the scaling from features (N, D). Equal features get a scale of 1."""
        units = F.normalize(features.double(), dim=-1)
        center = units.mean(0)
        scale = float((units - center).square().sum(-1).mean().sqrt())
        return cls(center, scale if scale > 1e-6 else 1.0)

    def apply(self, features: Tensor) -> Tensor:
        """Scale features (..., D). Differentiable; computes in the dtype of the features."""
        features = F.normalize(features, dim=-1) if self.unit_length else features
        return (features - self.center.to(features)) / self.scale

    def project(self, features: Tensor, weights: Tensor) -> Tensor:
        """Return the product of scaled features (..., D) and weights (D,), without storing the scaled features."""
        projections = features @ weights
        if self.unit_length:
            projections = projections / features.norm(dim=-1).clamp_min(1e-12)
        return (projections - self.center.to(features) @ weights) / self.scale


@dataclass(frozen=True)
class TastePrior:
    """A normal prior of the weights of D features and of the bias, whose covariance is low rank plus diagonal.

    Attributes:
        mean: Mean, (D + 1,). The last value belongs to the bias.
        diagonal: Diagonal part of the covariance, (D + 1,).
        factors: Low-rank part of the covariance, factors @ factors.T, (D + 1, k).
    """

    mean: Tensor
    diagonal: Tensor
    factors: Tensor

    def to(self, other: Tensor) -> TastePrior:
        """Return the prior with the dtype and on the device of a tensor."""
        return TastePrior(self.mean.to(other), self.diagonal.to(other), self.factors.to(other))

    def covariance(self) -> Tensor:
        """Return the dense covariance, (D + 1, D + 1)."""
        return self.factors @ self.factors.T + self.diagonal.diag()

    def times_covariance(self, rows: Tensor) -> Tensor:
        """Multiply rows (n, D + 1) by the covariance without building it."""
        return (rows @ self.factors) @ self.factors.T + rows * self.diagonal


def isotropic_prior(num_features: int, scale: float, bias_scale: float = BIAS_SCALE) -> TastePrior:
    """Return the prior for a person of whose population nothing is known: independent weights with mean 0.

    Args:
        num_features: D.
        scale: Standard deviation of each weight. With features of `FeatureScaling` it is the typical size of an image's
            logit, however many features there are.
        bias_scale: Standard deviation of the bias.
    """
    variances = torch.full((num_features + 1,), scale**2, dtype=torch.float64)
    variances[-1] = bias_scale**2
    return TastePrior(torch.zeros_like(variances), variances, variances.new_zeros(num_features + 1, 0))
