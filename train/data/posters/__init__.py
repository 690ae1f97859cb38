"""Draws flat posters from attributes: subject x scene x palette x texture x composition x finish.

The attributes of a poster are known exactly. So a taste over them has a true utility, and every claim about preferences
can be measured. `draw` renders `Attributes` to pixels, and `caption` describes them in words.
"""

from .attributes import (
    ATTRIBUTES,
    TASTE,
    Attributes,
    caption,
    random_attributes,
    random_caption,
    subject_prompt,
)
from .combinations import SPLITS, combinations, draw_combinations
from .drawing import SIZE, draw
from .wordings import BEFORE, UNSEEN, Wordings

__all__ = [
    "ATTRIBUTES",
    "BEFORE",
    "SIZE",
    "SPLITS",
    "TASTE",
    "UNSEEN",
    "Attributes",
    "Wordings",
    "caption",
    "combinations",
    "draw",
    "draw_combinations",
    "random_attributes",
    "random_caption",
    "subject_prompt",
]
