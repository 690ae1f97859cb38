"""Measures how similar two users' tastes are, and which preference tokens they share.

Embeddings of two users also differ for other reasons than taste: other images, longer prompts, more pairs. Swapping
liked and disliked images isolates the effect of the choices: half of the difference that it makes is the direction of a
user's preference (our choice; the papers subtract the mean user, which one machine does not have).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .history import PreferencePair, UserHistory
from .prefdisc.token_attention import attention_to_preference_tokens

if TYPE_CHECKING:
    from .checkpoint.preference_model import PreferenceModel
    from .prefdisc.model import PrefDisc
    from .prefdisc.prefix import HistoryPrefix


@dataclass(frozen=True, eq=False)
class PreferenceDirection:
    """The effect of one user's choices on PrefDisc.

    Attributes:
        name: The user's name.
        sem: (D,). Effect on the `sem` embedding.
        tokens: (L_p, F). Effect on how attention is shared between the L_p preference tokens, for each target image,
            layer (without the first), head and image token.
    """

    name: str
    sem: Tensor
    tokens: Tensor


PromptedImage = tuple[Tensor, str]
"""An image (3, H, W) in [0, 1] and its prompt."""


def compute_preference_direction(
    model: PreferenceModel,
    history: UserHistory,
    targets: Sequence[PromptedImage],
    progress: Callable[[], object] = lambda: None,
) -> PreferenceDirection:
    """Read a history as it is and with liked and disliked images swapped, and compare.

    Args:
        targets: Images whose attention is compared. All compared users need the same ones.
        progress: Called after each of the two readings.

    Raises:
        PrefGenError: See `PreferenceModel.encode_history`.
    """
    prefdisc = model.require("prefdisc")
    sem, tokens = [], []
    for variant in (history, swap_liked_and_disliked(history)):
        prefix = model.encode_history(variant)
        sem.append(prefix.hidden.float().cpu()[list(prefdisc.spec.sem_layers)].mean(0))
        tokens.append(_attention_shares(prefdisc, prefix, targets))
        progress()
    return PreferenceDirection(history.name, (sem[0] - sem[1]) / 2, (tokens[0] - tokens[1]) / 2)


def swap_liked_and_disliked(history: UserHistory) -> UserHistory:
    """Return the history of a user who made the opposite choice in every pair."""
    pairs = (PreferencePair(pair.disliked, pair.liked, pair.prompt) for pair in history.pairs)
    return UserHistory(tuple(pairs), history.name)


def user_similarity(one: PreferenceDirection, other: PreferenceDirection) -> float:
    """Compute the cosine similarity of two `sem` directions: 1 is the same taste, 0 unrelated, -1 the opposite."""
    return torch.cosine_similarity(one.sem, other.sem, dim=0).item()


def token_contributions(one: PreferenceDirection, other: PreferenceDirection) -> Tensor:
    """Compute each preference token's contribution to the cosine similarity of two users' attention.

    Returns:
        (L_p,), which sums to the cosine similarity. Positive values are shared, negative ones separate the users.
    """
    norms = one.tokens.norm() * other.tokens.norm()
    return (one.tokens * other.tokens).sum(-1) / norms.clamp(min=1e-12)


def _attention_shares(prefdisc: PrefDisc, prefix: HistoryPrefix, targets: Sequence[PromptedImage]) -> Tensor:
    """Return how attention is shared between the tokens, (L_p, F).

    The first layer is left out: its queries have seen only their own image, so they do not depend on the user.
    """
    if not prefdisc.spec.num_tokens or not targets:
        return torch.zeros(prefdisc.spec.num_tokens, 1)
    shares = []
    for image, prompt in targets:
        weights = attention_to_preference_tokens(prefdisc, prefix, image, prompt)[1:]
        share = weights / weights.sum(-1, keepdim=True).clamp(min=1e-12)
        shares.append(share.flatten(0, -2).T)
    return torch.cat(shares, dim=1)
