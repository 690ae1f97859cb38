"""The conditions that are compared. All start from the same prompts and the same noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from train.evaluate import plotting

Method = Literal["plain", "best_of_n", "reno"]
RewardName = Literal["preference", "viper", "general", "likes", "dislikes"]


@dataclass(frozen=True)
class Condition:
    """A way to generate pictures.

    Attributes:
        label: Name in tables.
        method: "plain" uses the noise as it is, "best_of_n" the best of as many noises as ReNO has iterations, "reno"
            the optimised noise.
        reward: The reward that is optimised or compared (see rewards.py), or None.
        adapter: Whether the generator uses the preference adapter.
        baseline: The condition with the same generator, but without optimisation.
        needs_training: Whether a model is trained for it (see viper.py).
        colour: Colour in the figure.
    """

    label: str
    method: Method = "reno"
    reward: RewardName | None = "preference"
    adapter: bool = False
    baseline: str = "plain"
    needs_training: bool = False
    colour: str = plotting.OURS


PEER, CONTROL = {"colour": plotting.PEER}, {"colour": plotting.CONTROL}
ALL_CONDITIONS: dict[str, Condition] = {
    "plain": Condition("plain", "plain", None, **PEER),
    "best_of_n": Condition("best of N, by the same score", "best_of_n", **PEER),
    "reno": Condition("ReNO with the preference"),
    "viper": Condition("ReNO with the ViPer-like model", reward="viper", needs_training=True, **PEER),
    "general": Condition("ReNO with a general reward (pocket CLIP)", reward="general", **CONTROL),
    "likes": Condition("ReNO with likes only", reward="likes"),
    "dislikes": Condition("ReNO with dislikes only", reward="dislikes"),
    "adapter": Condition("adapter", "plain", None, adapter=True, baseline="adapter", **PEER),
    "adapter_reno": Condition("adapter + ReNO", adapter=True, baseline="adapter"),
}
"""`likes` maximises the like logit alone, and `dislikes` minimises the dislike logit alone: 003's "w/ Like" and
"w/ Dislike", both toward what the user likes. `adapter` is the baseline of `adapter_reno`."""
DEFAULT_CONDITIONS = tuple(name for name, condition in ALL_CONDITIONS.items() if not condition.needs_training)
