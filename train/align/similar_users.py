"""Samples groups of users with similar tastes for MMD.

MMD compares distributions. Computed over all users at once, it would not change if users swapped their positions.
Therefore each group contains users with similar tastes and is compared with the texts of the same users. This is our
choice; the paper does not say how the mapping keeps users apart.
"""

from __future__ import annotations

import torch
from torch import Tensor


def sample_similar_users(likes: Tensor, texts: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """Sample the row indices of a group of at least two users.

    If attributes are known (A > 0), the users share the favourite value of a random attribute. Otherwise the group
    consists of a random user and the nearest neighbours of this user in text space.

    Args:
        likes: Index of each user's favourite value of every attribute, (N, A).
        texts: Text embeddings, (N, D).
        size: Maximum size of the group.
        generator: Random generator on the CPU.
    """
    if not likes.shape[1]:
        anchor = int(torch.randint(len(texts), (1,), generator=generator))
        distances = torch.cdist(texts[anchor][None], texts)[0]
        return distances.argsort()[: max(2, min(size, len(texts)))]
    attribute = int(torch.randint(likes.shape[1], (1,), generator=generator))
    anchor = int(torch.randint(len(texts), (1,), generator=generator))
    similar = (likes[:, attribute] == likes[anchor, attribute]).nonzero()[:, 0]
    if len(similar) < 2:
        # MMD needs at least two users, so an arbitrary second user is added.
        return torch.tensor([anchor, (anchor + 1) % len(texts)], device=texts.device)
    return similar[torch.randperm(len(similar), generator=generator)[:size].to(similar.device)]
