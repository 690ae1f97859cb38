"""How good an alignment is, on users it was not trained on: do they find their own texts, and do they stay apart?"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def retrieval(mapped: Tensor, texts: Tensor) -> dict[str, float]:
    """How near each mapped user (N, D) is to their own text (N, D), against everybody else's.

    rank: the share of other users' texts that are farther from the user than their own (0.5 by chance); own, others:
    mean cosine to their own and to other users' texts, both less the crowd's mean.
    """
    mapped, texts = F.normalize(mapped - texts.mean(0), dim=-1), F.normalize(texts - texts.mean(0), dim=-1)
    cosine = mapped @ texts.T
    own = cosine.diagonal()
    elsewhere = ~torch.eye(len(own), dtype=torch.bool, device=own.device)
    rank = (cosine < own[:, None])[elsewhere].float().mean()
    found = {"rank": rank, "own": own.mean(), "others": cosine[elsewhere].mean()}
    return {name: round(float(value), 4) for name, value in found.items()}


def apartness(mapped: Tensor, texts: Tensor) -> dict[str, float]:
    """How far apart mapped users (N, D) stay, as a share of how far apart the texts (N, D) are; 1 is as far.

    spread: the root of the total variance. directions: the participation ratio of the covariance's eigenvalues,
    (sum l)^2 / sum l^2: in how many directions users differ at all.
    """
    (ours, our_directions), (theirs, their_directions) = _variance(mapped), _variance(texts)
    spread = (ours / theirs.clamp_min(torch.finfo(theirs.dtype).tiny)).sqrt()
    found = {"spread": spread, "directions": our_directions / their_directions}
    return {name: round(float(value), 4) for name, value in found.items()}


def _variance(points: Tensor) -> tuple[Tensor, Tensor]:
    centred = points - points.mean(0)
    # The Gram matrix has the covariance's eigenvalues: their sum is its trace, the sum of their squares its norm.
    gram = centred @ centred.T if len(centred) < centred.shape[1] else centred.T @ centred
    total = gram.trace()
    squares = gram.square().sum().clamp_min(torch.finfo(gram.dtype).tiny)
    return total / len(points), total.square() / squares
