"""Defines the attributes of posters and their phrases in captions."""

from __future__ import annotations

from dataclasses import astuple, dataclass

import numpy as np

# Attribute -> {value: phrase in captions}, in the order of the fields of `Attributes`.
ATTRIBUTES: dict[str, dict[str, str]] = {
    "subject": {
        "sun": "a sun",
        "moon": "a moon",
        "mountain": "a mountain",
        "tree": "a tree",
        "house": "a house",
        "boat": "a sailing boat",
        "cactus": "a cactus",
        "lighthouse": "a lighthouse",
        "balloon": "a balloon",
        "flower": "a flower",
        "mushroom": "a mushroom",
        "fish": "a fish",
    },
    "scene": {"hills": "over hills", "sea": "over the sea", "city": "over a city"},
    "palette": {
        "mono": "grey colours",
        "neon": "neon colours",
        "sunset": "sunset colours",
        "retro": "retro colours",
        "night": "night colours",
        "ocean": "ocean colours",
        "candy": "candy colours",
        "forest": "forest colours",
    },
    "texture": {
        "plain": "plain sky",
        "stripes": "striped sky",
        "dots": "dotted sky",
        "checks": "checked sky",
        "rays": "sky of rays",
    },
    "composition": {"centre": "centred", "aside": "set aside", "close": "in close view", "pattern": "as a pattern"},
    "finish": {"flat": "flat", "outline": "outlined", "glow": "glowing", "frame": "framed"},
}

# Attributes of a taste: all but the subject, which the prompt names.
TASTE = tuple(name for name in ATTRIBUTES if name != "subject")


@dataclass(frozen=True)
class Attributes:
    """Values of all attributes of a poster, each a key of `ATTRIBUTES[name]`."""

    subject: str
    scene: str
    palette: str
    texture: str
    composition: str
    finish: str

    @classmethod
    def from_indices(cls, indices) -> Attributes:
        """Create attributes from six indices in the order of `ATTRIBUTES`."""
        return cls(*(list(values)[int(i)] for values, i in zip(ATTRIBUTES.values(), indices, strict=True)))

    @property
    def indices(self) -> tuple[int, ...]:
        """Index of each value within its attribute, in the order of `ATTRIBUTES`."""
        return tuple(list(values).index(v) for values, v in zip(ATTRIBUTES.values(), astuple(self), strict=True))


def random_attributes(rng: np.random.Generator, **fixed: str) -> Attributes:
    """Sample uniform attributes, except those fixed by name."""
    return Attributes(**{name: fixed.get(name) or str(rng.choice(list(values))) for name, values in ATTRIBUTES.items()})


def subject_prompt(attributes: Attributes) -> str:
    """Return the prompt that names only the subject, such as "a lighthouse"."""
    return ATTRIBUTES["subject"][attributes.subject]


def caption(attributes: Attributes, names=tuple(ATTRIBUTES)) -> str:
    """Return a caption with the named attributes, such as "a lighthouse over the sea, neon colours, flat"."""
    phrases = {name: ATTRIBUTES[name][getattr(attributes, name)] for name in ATTRIBUTES if name in names}
    if "subject" in phrases and "scene" in phrases:
        phrases["subject"] += " " + phrases.pop("scene")
    return ", ".join(phrases.values())


def random_caption(attributes: Attributes, rng: np.random.Generator, subject: float = 1.0, each: float = 0.5) -> str:
    """Return a caption that names the subject and each other attribute with given probabilities."""
    names = [n for n in ATTRIBUTES if rng.random() < (subject if n == "subject" else each)]
    return caption(attributes, names or ("subject",))
