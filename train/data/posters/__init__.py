"""Flat posters drawn from attributes: subject x scene x palette x texture x composition x finish.

A poster's attributes are known exactly, so a taste over them has a true utility and every claim about
preference can be measured. `draw` turns `Attributes` into pixels; `caption` into words.
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
