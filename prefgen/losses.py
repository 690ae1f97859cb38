"""Loss functions, one for each equation. Sections refer to docs/paper-index.md.

Shapes: B targets; V is the size of the vocabulary, or 2 if only the label logits are kept.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

LIKE, DISLIKE = 0, 1
"""Columns of label logits: M+ and M-."""


def base_loss(
    liked: Tensor, disliked: Tensor, labels: tuple[int, int] = (LIKE, DISLIKE), reduction: str = "mean"
) -> Tensor:
    """Compute L_base = 1/2 (CE(M(S, z_pos), +) + CE(M(S, z_neg), -)) (section 2).

    Args:
        liked, disliked: Logits (B, V) at the last position of each target.
        labels: Columns of `+` and `-`. With the whole vocabulary, as in the authors' code, they are token ids. The
            default is for label logits (B, 2).
        reduction: "mean" returns a scalar, "none" returns (B,).
    """
    like = F.cross_entropy(liked, liked.new_full(liked.shape[:-1], labels[0], dtype=torch.long), reduction=reduction)
    dislike = F.cross_entropy(
        disliked, disliked.new_full(disliked.shape[:-1], labels[1], dtype=torch.long), reduction=reduction
    )
    return (like + dislike) / 2


def contrastive_preference(liked: Tensor, disliked: Tensor, reduction: str = "mean") -> Tensor:
    """Compute L_CP = L_+ + L_- (section 2).

    L_+ = -mean log sigmoid(M+(z_pos) - M+(z_neg)) and L_- = -mean log sigmoid(M-(z_neg) - M-(z_pos)).

    Args:
        liked, disliked: Label logits (B, 2), columns (M+, M-).
        reduction: "mean" returns a scalar, "none" returns (B,).
    """
    like = -F.logsigmoid(liked[..., LIKE] - disliked[..., LIKE])
    dislike = -F.logsigmoid(disliked[..., DISLIKE] - liked[..., DISLIKE])
    return _reduce(like + dislike, reduction)


def preference_loss(
    liked: Tensor,
    disliked: Tensor,
    labels: tuple[int, int] = (LIKE, DISLIKE),
    contrastive: bool = True,
    reduction: str = "mean",
) -> Tensor:
    """Compute L_all = L_base + L_CP (section 2), or L_base alone.

    Args:
        liked, disliked: Logits (B, V) at the last position of each target.
        labels: Columns of `+` and `-`. Over the whole vocabulary, as in the authors' code, L_base compares the labels
            with every token; over label logits (B, 2), the default, it compares them with each other. L_CP only uses
            the labels' columns.
        contrastive: Whether to add L_CP.
        reduction: "mean" returns a scalar, "none" returns (B,).
    """
    base = base_loss(liked, disliked, labels, reduction)
    if not contrastive:
        return base
    columns = list(labels)
    return base + contrastive_preference(liked[..., columns], disliked[..., columns], reduction)


def expected_pair_loss(loss, first: Tensor, second: Tensor, probability: Tensor, **options) -> Tensor:
    """Compute the expectation of a pair loss over the choice: p loss(first, second) + (1 - p) loss(second, first).

    Has the same expectation as sampled choices, without their noise. For warm-up with a simulator only, because real
    users give no probabilities. Our addition.

    Args:
        loss: A pair loss of this module.
        first, second: Logits of both images.
        probability: Probability that the first image is chosen, (B,).
        **options: Passed to `loss`.
    """
    first_wins = loss(first, second, reduction="none", **options)
    second_wins = loss(second, first, reduction="none", **options)
    return (probability * first_wins + (1 - probability) * second_wins).mean()


def mmd(
    x: Tensor,
    y: Tensor,
    kernel: str = "rbf",
    scales: Sequence[float] = (0.25, 0.5, 1.0, 2.0, 4.0),
    unbiased: bool = False,
) -> Tensor:
    """Compute the squared maximum mean discrepancy E k(x,x') + E k(y,y') - 2 E k(x,y) (section 3).

    The paper gives no kernel; kernels and bandwidth are our choice. m is the median squared distance between all
    samples, detached, so that training cannot change the bandwidth.

    Args:
        x, y: Samples (N, D) and (M, D).
        kernel: "rbf" for exp(-d^2 / (2 s m)), "imq" for s m / (s m + d^2).
        scales: Values of s, over which the kernel is averaged.
        unbiased: Whether to leave out each sample's distance to itself. The result may then be slightly negative.

    Raises:
        ValueError: The kernel is unknown, or the samples have other shapes.
    """
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1] or min(len(x), len(y)) < 2:
        raise ValueError(f"Samples have shapes {tuple(x.shape)} and {tuple(y.shape)}; expected (N, D) and (M, D).")
    samples = torch.cat([x, y])
    squared = _squared_distances(samples)
    off_diagonal = ~torch.eye(len(samples), dtype=torch.bool, device=samples.device)
    median = squared.detach()[off_diagonal].median().clamp_min(torch.finfo(squared.dtype).tiny)
    gram = torch.stack([_kernel(squared, median * scale, kernel) for scale in scales]).mean(0)
    n = len(x)
    within_x, within_y = gram[:n, :n], gram[n:, n:]
    return _mean(within_x, unbiased) + _mean(within_y, unbiased) - 2 * gram[:n, n:].mean()


def _squared_distances(points: Tensor) -> Tensor:
    """Return pairwise squared distances (N, N). Unlike `cdist`, their gradient is finite at zero."""
    norms = points.square().sum(-1)
    return (norms[:, None] + norms[None, :] - 2 * points @ points.T).clamp_min(0)


def _kernel(squared: Tensor, bandwidth: Tensor, kernel: str) -> Tensor:
    if kernel == "rbf":
        return torch.exp(-squared / (2 * bandwidth))
    if kernel == "imq":
        return bandwidth / (bandwidth + squared)
    raise ValueError(f"kernel is {kernel!r}; expected 'rbf' or 'imq'.")


def _mean(gram: Tensor, unbiased: bool) -> Tensor:
    if not unbiased:
        return gram.mean()
    n = len(gram)
    return (gram.sum() - gram.diagonal().sum()) / (n * (n - 1))


def _reduce(values: Tensor, reduction: str) -> Tensor:
    return values.mean() if reduction == "mean" else values
