"""What is compared: every row begins with the same prompts and the same noise as plain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from train.evaluate import plotting

Way = Literal["plain", "best_of_n", "reno"]
Score = Literal["preference", "viper", "general", "likes", "dislikes"]


@dataclass(frozen=True)
class Row:
    """label: what tables call it. way: the noise as it is; the best of as many noises as ReNO has iterations; ReNO.
    score: what is climbed, or chosen by (see rewards.py). adapter: the preference adapter is in the generator. base:
    the row that paints the same without optimising. trained: needs a model that is trained for it (viper.py)."""

    label: str
    way: Way = "reno"
    score: Score | None = "preference"
    adapter: bool = False
    base: str = "plain"
    trained: bool = False
    colour: str = plotting.OURS


PEER, CONTROL = {"colour": plotting.PEER}, {"colour": plotting.CONTROL}
EVERY: dict[str, Row] = {
    "plain": Row("plain", "plain", None, **PEER),
    "best_of_n": Row("best of N, by the same score", "best_of_n", **PEER),
    "reno": Row("ReNO with the preference"),
    "viper": Row("ReNO with the ViPer-like model", score="viper", trained=True, **PEER),
    "general": Row("ReNO with a general reward (pocket CLIP)", score="general", **CONTROL),
    "likes": Row("ReNO with likes only", score="likes"),
    "dislikes": Row("ReNO with dislikes only", score="dislikes"),
    "adapter": Row("adapter", "plain", None, adapter=True, base="adapter", **PEER),
    "adapter_reno": Row("adapter + ReNO", adapter=True, base="adapter"),
}
"""`likes` climbs the like logit alone and `dislikes` goes down the dislike logit alone: 003's "w/ Like", "w/ Dislike"
in the sense that pleases. `adapter` is what `adapter_reno` starts from."""
ROWS = tuple(name for name, row in EVERY.items() if not row.trained)
