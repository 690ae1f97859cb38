"""Blends the embeddings of several users, and measures the distance between two."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import torch

from ..errors import EmbeddingError
from ..validation import require_number
from .user import PARTS, UserEmbedding


def blend(users: Sequence[UserEmbedding], weights: Sequence[float]) -> UserEmbedding:
    """Compute the weighted mean of several users, part by part (our choice; the papers do not blend users).

    Args:
        weights: One weight of at least 0 for each user. Only their ratios matter.

    Raises:
        EmbeddingError: The weights are invalid, or the embeddings come from different checkpoints or have different
            parts.
    """
    for weight in weights:
        require_number("A weight of the blend", weight, 0, sys.float_info.max, error=EmbeddingError)
    if len(users) != len(weights) or not any(weights):
        raise EmbeddingError(f"The weights are {list(weights)}; expected {len(users)} weights, one above 0.")
    _require_same_kind(users)
    largest = max(weights)
    scaled = torch.tensor([weight / largest for weight in weights], dtype=torch.float64)
    shares = scaled / scaled.sum()  # of scaled weights, because the sum of huge weights overflows
    parts = {
        part: (torch.stack([getattr(user, part) for user in users]).double() * shares[:, None]).sum(0).float()
        for part in users[0].vectors
    }
    return UserEmbedding(
        **{part: parts.get(part) for part in PARTS},
        fingerprint=users[0].fingerprint,
        name=" + ".join(user.name for user, weight in zip(users, weights, strict=True) if weight),
        made_by=users[0].made_by,
    )


def distances(first: UserEmbedding, second: UserEmbedding) -> dict[str, float]:
    """Compute the distance between two users for each part: 1 - cosine similarity, from 0 to 2.

    The distance measure is our choice.

    Raises:
        EmbeddingError: See `blend`.
    """
    _require_same_kind([first, second])
    a, b = first.vectors, second.vectors
    return {part: 1 - torch.cosine_similarity(a[part], b[part], dim=0).item() for part in a}


def distance(first: UserEmbedding, second: UserEmbedding) -> float:
    """Compute the mean of `distances` over the parts."""
    by_part = distances(first, second)
    return sum(by_part.values()) / len(by_part)


def _require_same_kind(users: Sequence[UserEmbedding]) -> None:
    """Raise EmbeddingError unless all embeddings come from the same model and have the same parts and widths."""
    empty = [user.name for user in users if not user.vectors]
    if empty:
        raise EmbeddingError(f"The embedding of {empty[0]!r} is empty. Like an image first.")
    first = users[0]
    for user in users[1:]:
        if user.fingerprint != first.fingerprint:
            names = " and ".join(f"{one.name!r} ({one.made_by or 'unknown file'})" for one in (first, user))
            raise EmbeddingError(f"{names} were encoded by different preference checkpoints. Encode them again.")
        widths, others = ({part: len(x) for part, x in one.vectors.items()} for one in (first, user))
        if widths != others:
            raise EmbeddingError(f"The parts are {widths} and {others}; expected equal parts. {_advice(first, user)}")


def _advice(first: UserEmbedding, second: UserEmbedding) -> str:
    """Say what to do about different parts. Only a user without dislikes has `img` alone."""
    without_dislikes = [user.name for user in (first, second) if list(user.vectors) == ["img"]]
    if len(without_dislikes) == 1:
        return f"{without_dislikes[0]!r} has not disliked an image; dislike one, and encode the history again."
    return "Encode both histories with the same image encoder."
