"""Measures how well a model predicts a user's ratings: each rated image is scored by a history that excludes it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from .history import UserHistory
from .user_similarity import PromptedImage

if TYPE_CHECKING:
    from .checkpoint.preference_model import PreferenceModel

ImageKey = Hashable
"""The identity of an image."""


def cross_validated_scores(
    model: PreferenceModel,
    history: UserHistory,
    pair_keys: Sequence[tuple[ImageKey, ImageKey]],
    rated: Mapping[ImageKey, Callable[[], PromptedImage]],
    progress: Callable[[int], object] = lambda done: None,
) -> dict[ImageKey, float]:
    """Score rated images without the pairs that contain them.

    An image that occurs in every pair is left out, because no pair remains to score it with.

    Args:
        pair_keys: The keys of the liked and the disliked image of each pair of `history`.
        rated: A function for each image that reads it, so that only one is in memory at a time.
        progress: Called with the number of images that were finished since the last call.

    Returns:
        The score (Q, 0 to 1) of each image, in the order of `rated`.

    Raises:
        ImageError: An image cannot be used. Errors of `PreferenceModel.encode_history` are passed on.
    """
    prefdisc = model.require("prefdisc")
    keys_by_pairs: dict[tuple[int, ...], list[ImageKey]] = defaultdict(list)
    for key in rated:
        keys_by_pairs[tuple(index for index, pair in enumerate(pair_keys) if key not in pair)].append(key)
    scores = {}
    for indices, keys in keys_by_pairs.items():
        if indices:
            with torch.no_grad():
                if len(indices) == len(pair_keys):
                    prefix = model.encode_history(history)
                else:
                    prefix = prefdisc.encode(UserHistory(tuple(history.pairs[i] for i in indices), history.name))
                for key in keys:
                    image, prompt = rated[key]()
                    scores[key] = float(prefdisc.score(prefix, image[None], prompt))
        progress(len(keys))
    return {key: scores[key] for key in rated if key in scores}


def roc_auc(liked: Sequence[float], disliked: Sequence[float]) -> float | None:
    """Compute the area under the ROC curve: how often a liked image has a higher score than a disliked one.

    Args:
        liked, disliked: Scores. A tie counts half.

    Returns:
        1 for perfect order, 0.5 for chance. None if either side is empty.
    """
    if not len(liked) or not len(disliked):
        return None
    differences = np.subtract.outer(np.asarray(liked, float), np.asarray(disliked, float))
    return float((differences > 0).mean() + (differences == 0).mean() / 2)
