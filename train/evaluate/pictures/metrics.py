"""Formulas of the picture metrics: Frechet distance, CMMD, diversity, win rate and cosine similarity, in float64."""

from __future__ import annotations

from itertools import combinations

import numpy as np

NOT_MEASURED = "not measured"
"""Table entry for a published network whose weights are not available."""
CMMD_BANDWIDTH, CMMD_SCALE = 10.0, 1000.0
"""Kernel bandwidth and scale factor of CMMD (Jayasumana et al. 2024)."""


def frechet(a: np.ndarray, b: np.ndarray) -> float:
    """Compute the Frechet distance between Gaussians fitted to features (n, D) and (m, D) (FID, Heusel et al. 2017).

    |mu_a - mu_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2)). The value decreases with the number of images, so only sets of
    equal size can be compared.
    """
    a, b = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    cov_a, cov_b = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = _matrix_sqrt(cov_a)
    # C_a C_b and C_a^(1/2) C_b C_a^(1/2) have the same eigenvalues; the second is symmetric.
    cross_trace = np.sqrt(np.clip(np.linalg.eigvalsh(root @ cov_b @ root), 0, None)).sum()
    return float(np.square(a.mean(0) - b.mean(0)).sum() + np.trace(cov_a) + np.trace(cov_b) - 2 * cross_trace)


def _matrix_sqrt(matrix: np.ndarray) -> np.ndarray:
    """Return the square root of a positive semi-definite matrix; negative eigenvalues from rounding are clipped."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T


def cmmd(a: np.ndarray, b: np.ndarray) -> float:
    """Compute CMMD (Jayasumana et al. 2024) of normalised embeddings (n, D) and (m, D).

    1,000 times MMD^2 with a Gaussian kernel of bandwidth 10. As published, this is the biased estimate, which includes
    the pairs of an image with itself.
    """

    def kernel(x: np.ndarray, y: np.ndarray) -> float:
        squared_distance = np.square(x).sum(1)[:, None] + np.square(y).sum(1) - 2 * x @ y.T
        return float(np.exp(-squared_distance / (2 * CMMD_BANDWIDTH**2)).mean())

    a, b = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    return CMMD_SCALE * (kernel(a, a) + kernel(b, b) - 2 * kernel(a, b))


def wins(ours: np.ndarray, plain: np.ndarray) -> np.ndarray:
    """Return 1 where `ours` has the higher utility, 0 where `plain` has, and 0.5 for ties."""
    return np.where(ours == plain, 0.5, ours > plain)


def spread(features: np.ndarray) -> np.ndarray:
    """Compute the mean Euclidean distance between the pictures of one prompt: (..., seeds, D) -> (...)."""
    pairs = combinations(range(features.shape[-2]), 2)
    return np.mean([np.linalg.norm(features[..., i, :] - features[..., j, :], axis=-1) for i, j in pairs], axis=0)


def mean_cosine(vectors: np.ndarray, references: np.ndarray) -> np.ndarray:
    """Compute the mean cosine of each vector (n, m, D) with the k vectors of the same agent (n, k, D): (n, m)."""
    vectors, references = (
        x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-12) for x in (vectors, references)
    )
    return (vectors @ references.swapaxes(-1, -2)).mean(-1)
