"""How well a person's ratings are foretold: each rated image is scored by a history in which it does not occur."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from .history import UserHistory
from .user_similarity import Target

if TYPE_CHECKING:
    from .checkpoint.preference_model import PreferenceModel

Key = Hashable
"""What an image is known by."""


def cross_validated_scores(
    model: PreferenceModel,
    history: UserHistory,
    keys: Sequence[tuple[Key, Key]],
    rated: Mapping[Key, Callable[[], Target]],
    progress: Callable[[int], object] = lambda done: None,
) -> dict[Key, float]:
    """The score (Q) of rated images, by key, in the order of `rated`.

    keys: of each pair's liked and disliked image. rated: what reads an image, so that no more than one is held at once.
    An image of the history is scored by the other pairs; one that all pairs show is left out, for nothing would be left
    to score it by. progress: called with how many images are done since. Raises as `PreferenceModel.read` does, and
    ImageError for an image that cannot be used.
    """
    prefdisc = model.require("prefdisc")
    together: dict[tuple[int, ...], list[Key]] = defaultdict(list)
    for key in rated:
        together[tuple(place for place, pair in enumerate(keys) if key not in pair)].append(key)
    found = {}
    for places, members in together.items():
        if places:
            whole = len(places) == len(keys)
            rest = history if whole else UserHistory(tuple(history.pairs[i] for i in places), history.name)
            with torch.no_grad():
                prefix = model.read(rest) if whole else prefdisc.encode(rest)
                for key in members:
                    image, prompt = rated[key]()
                    found[key] = float(prefdisc.score(prefix, image[None], prompt))
        progress(len(members))
    return {key: found[key] for key in rated if key in found}


def roc_auc(liked: Sequence[float], disliked: Sequence[float]) -> float | None:
    """How often a liked image has the higher score of the two, over all pairs of a liked and a disliked one: 1 always,
    0.5 by chance. None where one side is empty. (The area under the ROC curve; a tie counts half.)"""
    if not len(liked) or not len(disliked):
        return None
    apart = np.subtract.outer(np.asarray(liked, float), np.asarray(disliked, float))
    return float((apart > 0).mean() + (apart == 0).mean() / 2)
