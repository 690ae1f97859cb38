"""A user's preference as a reward (docs/paper-index.md)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import torch
from torch import Tensor

from ..errors import RewardError
from ..validation import require_choice, require_text

if TYPE_CHECKING:
    from ..prefdisc.model import PrefDisc
    from ..prefdisc.prefix import HistoryPrefix
    from ..taste.scorer import EncodedTaste, TasteScorer


Direction = Literal["like", "dislike"]
Objective = Literal["score", "margin"]


@dataclass(frozen=True)
class PreferenceReward:
    """The preference score of images for one user (docs/paper-index.md).

    Attributes:
        scorer: PrefDisc, or a taste head.
        prefix: The user's encoded history, detached, so that the memory of the gradient does not grow with the history.
        prompt: Prompt of the images: one for all, or one for each image.
        direction: "like" rewards what the user likes, "dislike" what the user dislikes (003, figure 8).
        objective: "score" is the score Q in [0, 1]. "margin" is the difference of the two logits, whose gradient does
            not vanish near 0 and 1.

    Raises:
        RewardError: Direction, objective or prompt is invalid.
    """

    scorer: PrefDisc | TasteScorer
    prefix: HistoryPrefix | EncodedTaste | None
    prompt: str | Sequence[str] = ""
    direction: Direction = "like"
    objective: Objective = "score"

    def __post_init__(self) -> None:
        require_choice("direction", self.direction, get_args(Direction), RewardError)
        require_choice("objective", self.objective, get_args(Objective), RewardError)
        for prompt in self.prompt if isinstance(self.prompt, list | tuple) else [self.prompt]:
            require_text(prompt, "The prompt of the preference reward", RewardError)

    def __call__(self, images: Tensor) -> Tensor:
        """Return the rewards of images (B, 3, H, W) in [0, 1], as (B,)."""
        logits = self.scorer.logits(self.prefix, images, self.prompt)
        liked, disliked = logits.to(torch.promote_types(logits.dtype, torch.float32)).unbind(-1)
        margin = liked - disliked if self.direction == "like" else disliked - liked
        return margin.sigmoid() if self.objective == "score" else margin
