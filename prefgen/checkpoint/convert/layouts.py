"""Describes the published preference models: their chat templates, preprocessing and labels (paper index section 2)."""

from __future__ import annotations

from dataclasses import dataclass

from ...prefdisc.config import PrefDiscSpec

LATENTS = 64
"""Image tokens of Idefics2-8B, one for each latent of its perceiver."""

_FENCE = "<fake_token_around_image>"
_ANSWER = "Score for this image?<end_of_utterance>\nAssistant: {label}<end_of_utterance>\n"

_IDEFICS2 = PrefDiscSpec(
    base="HuggingFaceM4/idefics2-8b",
    revision="",
    turn="User:<image>" + _ANSWER,
    image=_FENCE + "<image>" * LATENTS + _FENCE,
    labels=("+", "-"),
    num_tokens=0,
    sem_layers=(29, 30, 31, 32),
    core_layers=tuple(range(8, 21)),
    longest_edge=448,
    shortest_edge=378,
    opening="<s>",
    disliked_first=True,
)


@dataclass(frozen=True)
class Layout:
    """One published model.

    Attributes:
        source: Where it is published.
        licence: Licence of its weights.
        spec: PrefDisc's configuration, without the LoRA and the number of tokens, which come from the files.
        has_tokens: Whether it has preference tokens.
    """

    source: str
    licence: str
    spec: PrefDiscSpec
    has_tokens: bool


LEARN_USER_PREF = Layout(
    "wenyii/learn-user-pref",
    "MIT",
    PrefDiscSpec(**{**vars(_IDEFICS2), "turn": "User:<image>The prompt is '{prompt}' " + _ANSWER}),
    has_tokens=True,
)
"""Learning User Preferences for Image Generation Models (arXiv 2508.08220): a LoRA and a pickled pool of 10 tokens.

The target's turn ends before the space in front of its label, as in the authors' training. Their scoring code keeps the
space, a token that does not occur there in training.
"""

VIPER = Layout("EPFL-VILAB/Metric-ViPer", "Apache-2.0", _IDEFICS2, has_tokens=False)
"""ViPer's proxy metric (arXiv 2407.17365): a LoRA without prompts and tokens. The licence is that of its code."""

LAYOUTS = {"learn-user-pref": LEARN_USER_PREF, "viper": VIPER}
