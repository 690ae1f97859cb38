"""Several users at once: their mixture, and how far apart two of them are."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import torch

from ..errors import EmbeddingError
from ..validation import format_value, is_number
from .user import PARTS, UserEmbedding


def blend(users: Sequence[UserEmbedding], weights: Sequence[float]) -> UserEmbedding:
    """The weighted mean of several users, part by part (default ours; the papers mix no users).

    weights: one a user, none below 0; only their shares count. Raises EmbeddingError for weights that are no such,
    users read by different checkpoints, or a part that one has and another has not.
    """
    if len(users) != len(weights) or not users:
        raise EmbeddingError(f"Found {len(weights)} weights for {len(users)} users, expected one a user.")
    if not all(is_number(weight) and 0 <= weight <= sys.float_info.max for weight in weights) or not any(weights):
        found = ", ".join(map(format_value, weights))
        raise EmbeddingError(f"The weights are {found}; expected none below 0 and one above: correct the weights.")
    _require_alike(users)
    largest = max(weights)
    scaled = torch.tensor([weight / largest for weight in weights], dtype=torch.float64)
    shares = scaled / scaled.sum()  # by way of the largest, since huge weights have no finite sum
    mixed = {
        part: (torch.stack([getattr(user, part) for user in users]).double() * shares[:, None]).sum(0).float()
        for part in users[0].vectors
    }
    return UserEmbedding(
        **{part: mixed.get(part) for part in PARTS},
        fingerprint=users[0].fingerprint,
        name=" + ".join(user.name for user, weight in zip(users, weights, strict=True) if weight),
        made_by=users[0].made_by,
    )


def distances(one: UserEmbedding, other: UserEmbedding) -> dict[str, float]:
    """How far apart two users are, part by part: 1 - cosine, 0 for the same direction to 2 for opposite ones (default
    ours). Raises EmbeddingError as `blend` does."""
    _require_alike([one, other])
    ours, theirs = one.vectors, other.vectors
    return {part: 1 - torch.cosine_similarity(ours[part], theirs[part], dim=0).item() for part in ours}


def distance(one: UserEmbedding, other: UserEmbedding) -> float:
    """The mean of `distances` over the parts."""
    found = distances(one, other)
    return sum(found.values()) / len(found)


def _require_alike(users: Sequence[UserEmbedding]) -> None:
    """The users' numbers mean the same: the same model read them, and the same parts are there, as wide."""
    first = users[0]
    shape = {part: len(vector) for part, vector in first.vectors.items()}
    unknown = next((user.name for user in users if not user.vectors), None)
    if unknown is not None:
        raise EmbeddingError(f"{unknown!r} has liked no image yet, and has no taste to mix or compare: like an image.")
    for user in users[1:]:
        if user.fingerprint != first.fingerprint:
            raise EmbeddingError(
                f"The embeddings of {first.name!r} ({first.made_by or first.fingerprint[:12]}) and {user.name!r} "
                f"({user.made_by or user.fingerprint[:12]}) were made by different preference checkpoints: encode both "
                "histories with the same one."
            )
        found = {part: len(vector) for part, vector in user.vectors.items()}
        if found != shape:
            raise EmbeddingError(
                f"The embedding of {first.name!r} has {_listed(shape)}, that of {user.name!r} {_listed(found)}, "
                "expected the same: " + _advice(first, user)
            )


def _advice(one: UserEmbedding, other: UserEmbedding) -> str:
    """What to do about different parts. Only who has disliked nothing has `img` and nothing else."""
    alone = [user for user in (one, other) if list(user.vectors) == ["img"]]
    if len(alone) == 1:
        return f"{alone[0].name!r} has disliked no image yet; dislike one, and encode the history again."
    return "encode both histories with the same image tower."


def _listed(shape: dict[str, int]) -> str:
    return ", ".join(f"{part} {width} wide" for part, width in shape.items()) or "no part"
