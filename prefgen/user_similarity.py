"""Which people are alike, and which preference tokens they share.

Two people's states differ for many reasons: other images, longer prompts, more pairs. What a *choice* does is seen when
liked and disliked images change places and nothing else does: half the difference is what is compared here. So nobody
is measured against a crowd, which one machine does not have (default ours; the papers take the mean user off).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .history import PreferencePair, UserHistory
from .prefdisc.token_attention import attention_on_tokens

if TYPE_CHECKING:
    from .checkpoint.preference_model import PreferenceModel


@dataclass(frozen=True, eq=False)
class PreferenceDirection:
    """What one person's choices do to PrefDisc. name: the person's. sem: (D,), to the `sem` embedding. tokens: (L_p,
    F), to how the attention of some targets divides between the preference tokens, in every layer but the first, head
    and image token."""

    name: str
    sem: Tensor
    tokens: Tensor


Target = tuple[Tensor, str]
"""An image (3, H, W) in [0, 1] and its prompt."""


def compute_preference_direction(
    model: PreferenceModel,
    history: UserHistory,
    targets: Sequence[Target],
    progress: Callable[[], object] = lambda: None,
) -> PreferenceDirection:
    """Read a history twice: as it is, and with liked and disliked exchanged. targets: what everybody who is compared
    looks at. progress: called after each reading. Raises as `PreferenceModel.read` does."""
    prefdisc = model.require("prefdisc")
    sem, tokens = [], []
    for pairs in (history, swap_liked_and_disliked(history)):
        prefix = model.read(pairs)
        sem.append(prefix.hidden.float().cpu()[list(prefdisc.spec.sem_layers)].mean(0))
        tokens.append(_divided(prefdisc, prefix, targets))
        progress()
    return PreferenceDirection(history.name, (sem[0] - sem[1]) / 2, (tokens[0] - tokens[1]) / 2)


def swap_liked_and_disliked(history: UserHistory) -> UserHistory:
    """The person who would have chosen the other image each time."""
    pairs = (PreferencePair(pair.disliked, pair.liked, pair.prompt) for pair in history.pairs)
    return UserHistory(tuple(pairs), history.name)


def user_similarity(one: PreferenceDirection, other: PreferenceDirection) -> float:
    """The cosine of what the choices do to `sem`: 1 alike, 0 unrelated, -1 opposite."""
    return torch.cosine_similarity(one.sem, other.sem, dim=0).item()


def token_contributions(one: PreferenceDirection, other: PreferenceDirection) -> Tensor:
    """How much of the likeness of two people's attention each preference token brings: (L_p,). The sum is the cosine;
    what is above 0 they share, what is below sets them apart."""
    length = one.tokens.norm() * other.tokens.norm()
    return (one.tokens * other.tokens).sum(-1) / length.clamp(min=1e-12)


def _divided(prefdisc, prefix, targets: Sequence[Target]) -> Tensor:
    """How attention divides between the tokens: (L_p, F). The first layer is left out: there a query knows its own
    image only, and no user could show."""
    if not prefdisc.spec.num_tokens or not targets:
        return torch.zeros(prefdisc.spec.num_tokens, 1)
    found = []
    for image, prompt in targets:
        weights = attention_on_tokens(prefdisc, prefix, image, prompt)[1:]
        shares = weights / weights.sum(-1, keepdim=True).clamp(min=1e-12)
        found.append(shares.flatten(0, -2).T)
    return torch.cat(found, dim=1)
