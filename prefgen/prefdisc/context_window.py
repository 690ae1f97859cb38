"""What of a history fits into the base model's context."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ..errors import HistoryError
from ..history import UserHistory
from .template import Turns

if TYPE_CHECKING:
    from transformers import PretrainedConfig

log = logging.getLogger(__name__)


def positions_of(config: PretrainedConfig) -> int:
    """How many tokens a decoder (its text_config) takes with every one in sight: its positions, or its sliding window
    where that is shorter, since a window would hide the preference tokens."""
    return min(config.max_position_embeddings, config.sliding_window or config.max_position_embeddings)


def newest_that_fit(history: UserHistory, turns: Turns, positions: int) -> UserHistory:
    """The newest pairs that leave room for the preference tokens and for a target with the longest prompt; what is left
    out is logged. Raises HistoryError where not even one pair fits."""
    target = len(turns.open("")) + turns.spec.max_prompt_tokens
    left = positions - turns.spec.num_tokens - len(turns.opening) - target
    kept = 0
    for pair in reversed(history.pairs):
        left -= len(turns.rated(pair.prompt, True)) + len(turns.rated(pair.prompt, False))
        if left < 0:
            break
        kept += 1
    if kept == len(history):
        return history
    if not kept:
        raise HistoryError(
            f"The newest pair of {history.name!r} does not fit into the base model's context of {positions} tokens: "
            "shorten its prompt, or choose a checkpoint whose base has a longer context."
        )
    log.warning(
        "The history of %r has %d pairs, and %d fit into the base model's context of %d tokens: the newest are read.",
        history.name,
        len(history),
        kept,
        positions,
    )
    return UserHistory(history.pairs[-kept:], history.name)
