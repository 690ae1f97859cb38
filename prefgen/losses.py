"""Every loss, a pure function that names its equation. Numbers refer to the sections of method.md.

Shapes: B targets, V the vocabulary's size (or 2, where only the label logits are kept).
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
    """L_base = 1/2 (CE(M(S, z_pos), +) + CE(M(S, z_neg), -)), method.md section 2.

    liked, disliked: logits (B, V) at the last position of each target. With the whole vocabulary, `labels` are the
    token ids of `+` and `-` (as the authors' code does it); with label logits (B, 2) the default selects them.
    reduction: "mean" gives a scalar, "none" gives (B,).
    """
    like = F.cross_entropy(liked, liked.new_full(liked.shape[:-1], labels[0], dtype=torch.long), reduction=reduction)
    dislike = F.cross_entropy(
        disliked, disliked.new_full(disliked.shape[:-1], labels[1], dtype=torch.long), reduction=reduction
    )
    return (like + dislike) / 2


def contrastive_preference(liked: Tensor, disliked: Tensor, reduction: str = "mean") -> Tensor:
    """L_CP = L_+ + L_-, with L_+ = -mean log sigmoid(M+(z_pos) - M+(z_neg)) and
    L_- = -mean log sigmoid(M-(z_neg) - M-(z_pos)), method.md section 2.

    liked, disliked: label logits (B, 2), columns (M+, M-). reduction: "mean" gives a scalar, "none" gives (B,).
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
    """L_all = L_base + L_CP, method.md section 2; L_base alone where not `contrastive`.

    liked, disliked: logits (B, V) at the last position of each target, `labels` the columns of `+` and `-`: over the
    whole vocabulary L_base weighs every token against the labels (as the authors' code does), over label logits (B, 2),
    the default, the two against each other. L_CP is the same either way: it looks at the labels' columns only.
    reduction: "mean" gives a scalar, "none" gives (B,).
    """
    base = base_loss(liked, disliked, labels, reduction)
    if not contrastive:
        return base
    columns = list(labels)
    return base + contrastive_preference(liked[..., columns], disliked[..., columns], reduction)


def expected_pair_loss(loss, first: Tensor, second: Tensor, probability: Tensor, **options) -> Tensor:
    """The mean of a pair loss over who wins: p * loss(first, second) + (1 - p) * loss(second, first) (ours).

    With p = 1 it is the loss itself; with a simulator's true choice probability (B,) it has the same expectation as
    sampled choices, without their noise. Used in warm-up only: real users give no probabilities.
    """
    won = loss(first, second, reduction="none", **options)
    lost = loss(second, first, reduction="none", **options)
    return (probability * won + (1 - probability) * lost).mean()


def mmd(
    x: Tensor,
    y: Tensor,
    kernel: str = "rbf",
    scales: Sequence[float] = (0.25, 0.5, 1.0, 2.0, 4.0),
    unbiased: bool = False,
) -> Tensor:
    """Squared maximum mean discrepancy between samples x (N, D) and y (M, D): E k(x,x') + E k(y,y') - 2 E k(x,y).

    method.md section 3 (the alignment's loss); the kernel and its bandwidth are default ours, the paper gives none:
    "rbf" is the mean of exp(-d^2 / (2 s m)) over `scales` s, "imq" of s m / (s m + d^2), where m is the median
    squared distance between all samples (detached: the bandwidth must not be something that training can move).
    unbiased: leave each sample's distance to itself out (may then be slightly negative). Raises ValueError for an
    unknown kernel or samples that cannot be compared.
    """
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1] or min(len(x), len(y)) < 2:
        raise ValueError(f"mmd compares (N, D) with (M, D), N and M at least 2; got {tuple(x.shape)}, {tuple(y.shape)}")
    both = torch.cat([x, y])
    squared = _squared_distances(both)
    off_diagonal = ~torch.eye(len(both), dtype=torch.bool, device=both.device)
    median = squared.detach()[off_diagonal].median().clamp_min(torch.finfo(squared.dtype).tiny)
    gram = torch.stack([_kernel(squared, median * scale, kernel) for scale in scales]).mean(0)
    n = len(x)
    within_x, within_y = gram[:n, :n], gram[n:, n:]
    return _mean(within_x, unbiased) + _mean(within_y, unbiased) - 2 * gram[:n, n:].mean()


def _squared_distances(points: Tensor) -> Tensor:
    """Pairwise squared distances (N, N) whose gradient is finite at zero, which `cdist`'s root is not."""
    norms = points.square().sum(-1)
    return (norms[:, None] + norms[None, :] - 2 * points @ points.T).clamp_min(0)


def _kernel(squared: Tensor, bandwidth: Tensor, kernel: str) -> Tensor:
    if kernel == "rbf":
        return torch.exp(-squared / (2 * bandwidth))
    if kernel == "imq":
        return bandwidth / (bandwidth + squared)
    raise ValueError(f"unknown kernel {kernel!r}, expected 'rbf' or 'imq'")


def _mean(gram: Tensor, unbiased: bool) -> Tensor:
    if not unbiased:
        return gram.mean()
    n = len(gram)
    return (gram.sum() - gram.diagonal().sum()) / (n * (n - 1))


def _reduce(values: Tensor, reduction: str) -> Tensor:
    return values.mean() if reduction == "mean" else values
