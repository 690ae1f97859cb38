"""Rewords prompts with words before, inside and after a caption that do not change its meaning."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

BEFORE = (
    "a poster of",
    "a picture of",
    "an image of",
    "the poster of",
    "a picture with",
    "a photo of",
    "a painting of",
    "a drawing of",
    "an illustration of",
    "poster of",
    "picture of",
    "photo of",
    "drawing:",
)
WORDS = ("beautiful", "detailed", "masterpiece", "my", "vivid", "cinematic")
"""Filler words. The pocket vocabularies contain none of them, so all of them become the unknown word."""
UNSEEN = ("a sketch of {}", "here is {}", "a very fine image with {}", "{}, trending, best quality")
"""Wordings for evaluation, which no training uses."""


@dataclass(frozen=True)
class Wordings:
    """Distribution of rewordings. The defaults are ours.

    Attributes:
        before: Probability of a prefix from `BEFORE`.
        adjective: Probability of filler words after the article.
        behind: Probability of filler words at the end.
        bare: Probability that the caption does not change.
    """

    before: float = 0.7
    adjective: float = 0.3
    behind: float = 0.3
    bare: float = 0.25

    def of(self, caption: str, rng: np.random.Generator) -> str:
        """Reword a caption that starts with an article. An empty caption stays empty."""
        if not caption or rng.random() < self.bare:
            return caption
        if rng.random() < self.adjective:
            article, _, rest = caption.partition(" ")
            caption = f"{article} {_some_words(rng, 2)} {rest}"
        if rng.random() < self.before:
            caption = f"{rng.choice(BEFORE)} {caption}"
        if rng.random() < self.behind:
            caption = f"{caption}, {_some_words(rng, 4)}"
        return caption


def _some_words(rng: np.random.Generator, most: int) -> str:
    return " ".join(rng.choice(WORDS, size=rng.integers(1, most + 1)))
