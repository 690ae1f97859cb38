"""How people word a prompt: what stands before, within and behind a caption that names the same things."""

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
"""The pocket models' vocabularies know none of them, as no word that captions do not use: all are one to them."""
UNSEEN = ("a sketch of {}", "here is {}", "a very fine image with {}", "{}, trending, best quality")
"""Wordings kept out of every training, to measure on."""


@dataclass(frozen=True)
class Wordings:
    """How captions are reworded. before: how likely something of `BEFORE` leads. adjective: how likely words stand
    behind the article. behind: how likely words follow. bare: the share that stays as it is. Defaults ours."""

    before: float = 0.7
    adjective: float = 0.3
    behind: float = 0.3
    bare: float = 0.25

    def of(self, caption: str, rng: np.random.Generator) -> str:
        """A caption, which begins with an article, as somebody might put it. No caption stays none."""
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
