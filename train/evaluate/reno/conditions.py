"""Defines the conditions that are compared. All start from the same prompts and the same noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from train.evaluate import plotting
from train.evaluate.reno.settings import Settings

Method = Literal["plain", "best_of_n", "reno"]
RewardName = Literal["preference", "viper", "general", "likes", "dislikes", "disliked"]

PUBLISHED_ITERATIONS = 50
PUBLISHED_SETTINGS = Settings(clip=1.0, objective="score", views=0, num_initial_noises=1)
"""ReNO's published settings (arXiv 2406.04312; docs/paper-index.md): the seed's own noise, learning rate 5, regulariser
0.01, 50 iterations, the score of the picture itself. The weight of 1 on the pocket CLIP's cosine is ReNO's 0.01 on
CLIP's logit. The preference has the weight of 001. The other published rewards are left out: their files are not
available."""


@dataclass(frozen=True)
class Condition:
    """A condition of the comparison: method, reward and settings.

    Attributes:
        label: Name in tables.
        method: "plain" uses the noise as it is, "best_of_n" the best of as many noises as ReNO has iterations, "reno"
            the optimised noise.
        reward: The reward that is optimised or compared (see rewards.py), or None.
        adapter: Whether the generator uses the preference adapter.
        baseline: The condition with the same generator, but without optimisation.
        settings: Settings of the optimisation, instead of the command's.
        iterations: Number of iterations, instead of the command's.
        needs_training: Whether a model is trained for it (see viper.py).
        colour: Colour in the figure.
    """

    label: str
    method: Method = "reno"
    reward: RewardName | None = "preference"
    adapter: bool = False
    baseline: str = "plain"
    settings: Settings | None = None
    iterations: int | None = None
    needs_training: bool = False
    colour: str = plotting.OURS


PEER, CONTROL = {"colour": plotting.PEER}, {"colour": plotting.CONTROL}
ALL_CONDITIONS: dict[str, Condition] = {
    "plain": Condition("plain", "plain", None, **PEER),
    "best_of_n": Condition("best of N, by the same score", "best_of_n", **PEER),
    "reno": Condition("ReNO with the preference"),
    "reno_published": Condition(
        "ReNO, published settings (own noise, lr 5, 50 iterations, score, 1 view)",
        settings=PUBLISHED_SETTINGS,
        iterations=PUBLISHED_ITERATIONS,
        **PEER,
    ),
    "viper": Condition("ReNO with the ViPer-like model", reward="viper", needs_training=True, **PEER),
    "general": Condition("ReNO with a general reward (pocket CLIP)", reward="general", **CONTROL),
    "likes": Condition("ReNO with likes only", reward="likes"),
    "dislikes": Condition("ReNO with dislikes only, away from them", reward="dislikes"),
    "disliked": Condition("ReNO toward what is disliked", reward="disliked", **CONTROL),
    "adapter": Condition("adapter", "plain", None, adapter=True, baseline="adapter", **PEER),
    "adapter_reno": Condition("adapter + ReNO", adapter=True, baseline="adapter"),
}
"""`likes` maximises the like logit alone, and `dislikes` minimises the dislike logit alone, both toward what the user
likes: 003's "w/ Like" and "w/ Dislike". `disliked` maximises the dislike logit, which leads toward what is disliked.
`adapter` is the baseline of `adapter_reno`."""
DEFAULT_CONDITIONS = tuple(name for name, condition in ALL_CONDITIONS.items() if not condition.needs_training)
