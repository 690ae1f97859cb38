"""Shortens a history to the newest pairs that fit into the base model's context."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ..errors import HistoryError
from ..history import UserHistory
from .template import ChatTemplate

if TYPE_CHECKING:
    from transformers import PretrainedConfig

log = logging.getLogger(__name__)


def max_positions(config: PretrainedConfig) -> int:
    """Return how many tokens a decoder can attend to at once.

    A sliding window counts as the limit, because it would hide the preference tokens.

    Args:
        config: The decoder's configuration (`text_config`).
    """
    return min(config.max_position_embeddings, config.sliding_window or config.max_position_embeddings)


def truncate_to_context(history: UserHistory, template: ChatTemplate, positions: int) -> UserHistory:
    """Drop the oldest pairs until preference tokens, history and a target with the longest prompt fit.

    Logs a warning when pairs are dropped.

    Args:
        history: The history to encode.
        template: The chat template of the preference model.
        positions: Size of the context in tokens.

    Raises:
        HistoryError: Even the newest pair alone is too long for the context.
    """
    target = max(len(template.unlabelled_turn("", first)) for first in (True, False)) + template.spec.max_prompt_tokens
    free = positions - template.spec.num_tokens - len(template.opening_ids) - target
    num_fitting = 0
    for pair in reversed(history.pairs):
        free -= len(template.labelled_turn(pair.prompt, True)) + len(template.labelled_turn(pair.prompt, False))
        if free < 0:
            break
        num_fitting += 1
    if num_fitting == len(history):
        return history
    if not num_fitting:
        raise HistoryError(
            f"The newest pair of {history.name!r} does not fit into the base model's context of {positions} tokens. "
            "Shorten its prompt, or choose a checkpoint whose base has a longer context."
        )
    log.warning(
        "The history of %r has %d pairs; the newest %d fit into the base model's context of %d tokens.",
        history.name,
        len(history),
        num_fitting,
        positions,
    )
    return UserHistory(history.pairs[-num_fitting:], history.name)
