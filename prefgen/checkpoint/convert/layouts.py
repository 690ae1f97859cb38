"""Describes the published preference models: their chat templates, preprocessing and labels (paper index section 2)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ...errors import CheckpointError
from ...prefdisc.config import PrefDiscSpec
from ...validation import require_choice

LATENTS = 64
"""Image tokens of Idefics2-8B, one for each latent of its perceiver."""

PROCEDURES = ("scoring", "training")
"""Input format of a published model: that of its authors' scoring code (the default), or of their training."""

TRAINING_SIZE = 512
"""Side of the squares to which learn-user-pref's training resizes images (arXiv 2508.08220)."""

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
    whole_text=True,
    open_space=True,
    rounded=True,
)


@dataclass(frozen=True)
class Layout:
    """A published model.

    Attributes:
        source: Where it is published.
        licence: Licence of its weights.
        spec: PrefDisc's configuration for scoring, without the LoRA and the number of tokens, which come from the
            files.
        has_tokens: Whether it has preference tokens.
        training_size: Side of the squares to which its training resizes images. 0 keeps their shape.
    """

    source: str
    licence: str
    spec: PrefDiscSpec
    has_tokens: bool
    training_size: int = 0

    def spec_of(self, procedure: str) -> PrefDiscSpec:
        """Return PrefDisc's configuration for one of PROCEDURES.

        The turn that is scored ends before the space in training, and after it in scoring. Training draws the order of
        a pair at random; a history is read disliked image first, as in scoring.
        """
        require_choice("The procedure", procedure, PROCEDURES, CheckpointError)
        if procedure == "scoring":
            return self.spec
        return replace(self.spec, open_space=False, square=self.training_size)


LEARN_USER_PREF = Layout(
    "wenyii/learn-user-pref",
    "MIT",
    replace(_IDEFICS2, turn="User:<image>The prompt is '{prompt}' " + _ANSWER),
    has_tokens=True,
    training_size=TRAINING_SIZE,
)
"""Learning User Preferences for Image Generation Models (arXiv 2508.08220): a LoRA and a pickled pool of 10 tokens."""

VIPER = Layout("EPFL-VILAB/Metric-ViPer", "Apache-2.0", _IDEFICS2, has_tokens=False)
"""ViPer's proxy metric (arXiv 2407.17365): a LoRA without prompts and tokens. The licence is that of its code."""

LAYOUTS = {"learn-user-pref": LEARN_USER_PREF, "viper": VIPER}
