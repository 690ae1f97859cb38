"""Metrics of an alignment on held-out users: retrieval of their own texts, and dispersion."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def retrieval(mapped: Tensor, texts: Tensor) -> dict[str, float]:
    """Compare each mapped user (N, D) with their own text and with the texts (N, D) of the other users.

    Returns:
        "rank": the share of other users' texts that are farther away than the user's own text (chance: 0.5).
        "own" and "others": the mean cosine similarity to the user's own text and to other users' texts, after
        subtracting the mean text.
    """
    mapped, texts = F.normalize(mapped - texts.mean(0), dim=-1), F.normalize(texts - texts.mean(0), dim=-1)
    cosine = mapped @ texts.T
    own = cosine.diagonal()
    off_diagonal = ~torch.eye(len(own), dtype=torch.bool, device=own.device)
    rank = (cosine < own[:, None])[off_diagonal].float().mean()
    metrics = {"rank": rank, "own": own.mean(), "others": cosine[off_diagonal].mean()}
    return {name: round(float(value), 4) for name, value in metrics.items()}


def dispersion(mapped: Tensor, texts: Tensor) -> dict[str, float]:
    """Measure the dispersion of mapped users (N, D) relative to the dispersion of the texts (N, D).

    Returns:
        "spread": the ratio of the square roots of the total variance. "directions": the ratio of the effective numbers
        of dimensions, measured by the participation ratio (sum l)^2 / sum l^2 of the covariance's eigenvalues l.
    """
    (variance, dimensions), (text_variance, text_dimensions) = _variance(mapped), _variance(texts)
    spread = (variance / text_variance.clamp_min(torch.finfo(text_variance.dtype).tiny)).sqrt()
    metrics = {"spread": spread, "directions": dimensions / text_dimensions}
    return {name: round(float(value), 4) for name, value in metrics.items()}


def _variance(points: Tensor) -> tuple[Tensor, Tensor]:
    """Return the total variance and the participation ratio of points (N, D)."""
    centred = points - points.mean(0)
    # Up to a factor, the Gram matrix has the eigenvalues of the covariance. Their sum is its trace, and the sum of
    # their squares is its squared Frobenius norm.
    gram = centred @ centred.T if len(centred) < centred.shape[1] else centred.T @ centred
    total = gram.trace()
    squares = gram.square().sum().clamp_min(torch.finfo(gram.dtype).tiny)
    return total / len(points), total.square() / squares
