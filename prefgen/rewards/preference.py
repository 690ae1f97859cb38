"""A person's preference as a reward (method.md section 4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import torch
from torch import Tensor

from ..errors import RewardError
from ..validation import require_text

if TYPE_CHECKING:
    from ..prefdisc.model import PrefDisc
    from ..prefdisc.prefix import HistoryPrefix


Sense = Literal["like", "dislike"]
By = Literal["score", "margin"]


@dataclass(frozen=True)
class PreferenceReward:
    """How much a person likes the image, by PrefDisc over the person's history (method.md section 4).

    Attributes:
        prefix: the history, read once and detached: the gradient's memory does not grow with the history.
        prompt: what the images were painted for; one for all, or one each.
        sense: "like" climbs towards what the person likes, "dislike" towards what they do not (003, figure 8).
        by: "score" is Q itself; "margin" the difference of the two logits, whose gradient does not fade where the
            score is near 0 or 1.
    """

    prefdisc: PrefDisc
    prefix: HistoryPrefix | None
    prompt: str | Sequence[str] = ""
    sense: Sense = "like"
    by: By = "score"

    def __post_init__(self) -> None:
        if self.sense not in get_args(Sense) or self.by not in get_args(By):
            raise RewardError(
                f"The preference reward has sense {self.sense!r} and is read by {self.by!r}; "
                "expected like or dislike, and score or margin."
            )
        for prompt in self.prompt if isinstance(self.prompt, list | tuple) else [self.prompt]:
            require_text(prompt, "The prompt of the preference reward", RewardError)

    def __call__(self, images: Tensor) -> Tensor:
        logits = self.prefdisc.logits(self.prefix, images, self.prompt)
        liked, disliked = logits.to(torch.promote_types(logits.dtype, torch.float32)).unbind(-1)
        margin = liked - disliked if self.sense == "like" else disliked - liked
        return margin.sigmoid() if self.by == "score" else margin
