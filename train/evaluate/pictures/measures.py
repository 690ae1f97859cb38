"""The mathematics: distances between sets of images, how much pictures differ, who wins. All pure, in float64."""

from __future__ import annotations

from itertools import combinations

import numpy as np

NOT_MEASURED = "not measured"
"""Said of a published network whose weights are not at hand."""
SIGMA, SCALE = 10.0, 1000.0
"""CMMD's bandwidth and the factor it is told with (Jayasumana et al. 2024)."""


def frechet(a: np.ndarray, b: np.ndarray) -> float:
    """Frechet distance of the Gaussians through two sets of features (n, D), (m, D) (Heusel et al. 2017, FID).

    |mu_a - mu_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2)). It falls with the number of images: compare equal ones only.
    """
    a, b = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    one, two = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = _root(one)
    # C_a C_b and C_a^(1/2) C_b C_a^(1/2) have the same eigenvalues, and the second is symmetric.
    shared = np.sqrt(np.clip(np.linalg.eigvalsh(root @ two @ root), 0, None)).sum()
    return float(np.square(a.mean(0) - b.mean(0)).sum() + np.trace(one) + np.trace(two) - 2 * shared)


def _root(matrix: np.ndarray) -> np.ndarray:
    """The square root of a symmetric matrix without negative eigenvalues but for rounding."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T


def cmmd(a: np.ndarray, b: np.ndarray) -> float:
    """CMMD (Jayasumana et al. 2024): MMD^2 of embeddings of length one (n, D), (m, D) with a Gaussian kernel of
    bandwidth 10, times 1,000; as published, the pairs of an image with itself counted."""

    def kernel(x: np.ndarray, y: np.ndarray) -> float:
        apart = np.square(x).sum(1)[:, None] + np.square(y).sum(1) - 2 * x @ y.T
        return float(np.exp(-apart / (2 * SIGMA**2)).mean())

    a, b = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    return SCALE * (kernel(a, a) + kernel(b, b) - 2 * kernel(a, b))


def wins(ours: np.ndarray, plain: np.ndarray) -> np.ndarray:
    """1 where ours is of higher utility, 0 where plain is, half for a tie."""
    return np.where(ours == plain, 0.5, ours > plain)


def spread(features: np.ndarray) -> np.ndarray:
    """Mean Euclidean distance between the pictures of one prompt: (..., seeds, D) -> (...)."""
    pairs = combinations(range(features.shape[-2]), 2)
    return np.mean([np.linalg.norm(features[..., i, :] - features[..., j, :], axis=-1) for i, j in pairs], axis=0)


def mean_cosine(one: np.ndarray, several: np.ndarray) -> np.ndarray:
    """The mean cosine of each vector (n, m, D) with the k of its own agent (n, k, D): (n, m)."""
    one, several = (x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-12) for x in (one, several))
    return (one @ several.swapaxes(-1, -2)).mean(-1)
