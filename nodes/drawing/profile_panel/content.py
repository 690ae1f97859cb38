"""What a panel shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True, eq=False)
class RatedThumbnail:
    """One rated image. picture: RGB, of any size. score: Q, where it is known."""

    picture: Image
    liked: bool
    score: float = 0.5


@dataclass(frozen=True, eq=False)
class PanelUser:
    """Whose profile it is. liked, disliked: how many in all. shown: the newest of them, newest first."""

    name: str
    liked: int
    disliked: int
    shown: tuple[RatedThumbnail, ...] = ()


@dataclass(frozen=True, eq=False)
class SimilarUser:
    """Somebody whom the person is compared with. faces: a few images they liked. likeness: -1 to 1. tokens: what each
    preference token brings to the likeness of attention."""

    name: str
    faces: tuple[Image, ...]
    likeness: float
    tokens: tuple[float, ...] = ()
