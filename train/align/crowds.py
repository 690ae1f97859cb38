"""Who is compared with whom. MMD compares crowds: of everybody at once, it would be as content with each user at
another's place. So a crowd is of users who like alike, compared with those users' own texts (default ours: the paper
does not say how users keep theirs)."""

from __future__ import annotations

import torch
from torch import Tensor


def draw_crowd(likes: Tensor, texts: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """Row numbers of up to `size` users, two at least.

    likes (N, A): they share a value of a random attribute. Where nobody knows attributes (A = 0): a random user and
    those whose texts (N, D) are nearest.
    """
    if not likes.shape[1]:
        leader = int(torch.randint(len(texts), (1,), generator=generator))
        distances = torch.cdist(texts[leader][None], texts)[0]
        return distances.argsort()[: max(2, min(size, len(texts)))]
    attribute = int(torch.randint(likes.shape[1], (1,), generator=generator))
    leader = int(torch.randint(len(texts), (1,), generator=generator))
    alike = (likes[:, attribute] == likes[leader, attribute]).nonzero()[:, 0]
    if len(alike) < 2:
        # A crowd of one cannot be compared; the second may then be anybody.
        return torch.tensor([leader, (leader + 1) % len(texts)], device=texts.device)
    return alike[torch.randperm(len(alike), generator=generator)[:size].to(alike.device)]
