"""A user's keys and values for the branch, made once from an adapter's weights, and found sound."""

from __future__ import annotations

import math
from dataclasses import replace

import torch

from ...prefgen.adapter import PreferenceAdapter, Spoken, UserParts
from ...prefgen.adapter.codebook import KeysValues
from ...prefgen.embedding import UserEmbedding
from ...prefgen.errors import CheckpointError


def user_keys_values(
    adapter: PreferenceAdapter,
    embedding: UserEmbedding | UserParts,
    strengths: dict[str, float],
    weights: dict[str, float] | None = None,
    name: str = "the checkpoint",
) -> KeysValues:
    """Keys and values of every block, once for the whole sampling, as tensors that a later gradient may pass.

    weights: each block's factor; blocks of weight 0 are left out. Raises CheckpointError, naming the checkpoint `name`,
    for weights of the adapter that hold NaN.
    """
    with torch.inference_mode(False), torch.no_grad():
        made = adapter.for_users(embedding, strengths)
        return check_sound(made, name) if weights is None else weighted(check_sound(made, name), weights)


def user_words(
    adapter: PreferenceAdapter,
    embedding: UserEmbedding | UserParts,
    strengths: dict[str, float],
    weights: dict[str, float],
    name: str = "the checkpoint",
) -> Spoken:
    """What each picture draws its keys and values from, of an adapter of words; on the CPU, where it takes no room from
    models. The rest is as in `user_keys_values`."""
    with torch.inference_mode(False), torch.no_grad():
        spoken = adapter.spoken(embedding, strengths)
        words = weighted(check_sound(spoken.vocabulary, name), weights)
        return replace(
            spoken, votes=spoken.votes.cpu(), vocabulary={b: (k.cpu(), v.cpu()) for b, (k, v) in words.items()}
        )


def led_away_from(
    adapter: PreferenceAdapter,
    against: UserEmbedding | UserParts,
    strengths: dict[str, float],
    weights: dict[str, float],
    name: str,
) -> KeysValues:
    """Keys and values for the negative prompt's rows. Of words, all that the images speak for, by its odds and without
    what people like anyway: guidance would lead away from that too."""
    if adapter.choice is None:
        return user_keys_values(adapter, against, strengths, weights, name)
    spoken = user_words(adapter, against, strengths, weights, name)
    with torch.inference_mode(False), torch.no_grad():
        return check_sound(replace(spoken, votes=spoken.votes - adapter.choice.prior.cpu()).meant(), name)


def check_sound(pairs: KeysValues, name: str) -> KeysValues:
    """The keys and values themselves. Raises CheckpointError, naming the checkpoint, where one is no number."""
    for block, pair in pairs.items():
        if not all(math.isfinite(half.sum()) for half in pair):
            raise CheckpointError(
                f"The adapter of {name} gives NaN for block {block}: its weights are damaged, get the file again."
            )
    return pairs


def weighted(pairs: KeysValues, weights: dict[str, float]) -> KeysValues:
    """Keys and values, each block's values times its weight, without the blocks of weight 0."""
    return {block: (k, v * weights[block]) for block, (k, v) in pairs.items() if weights[block]}
