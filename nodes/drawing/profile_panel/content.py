"""The content of a panel, as dataclasses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True, eq=False)
class RatedThumbnail:
    """A rated image.

    Attributes:
        image: RGB, of any size.
        score: Predicted score Q, from 0 to 1. 0.5 if the image has not been scored.
    """

    image: Image
    liked: bool
    score: float = 0.5


@dataclass(frozen=True, eq=False)
class PanelContent:
    """The user's name and number of ratings, and the rated images to draw.

    Attributes:
        liked, disliked: Number of likes and number of dislikes.
        rated: The newest rated images, newest first.
    """

    name: str
    liked: int
    disliked: int
    rated: tuple[RatedThumbnail, ...] = ()


@dataclass(frozen=True, eq=False)
class SimilarUser:
    """Another user, and how similar their taste is.

    Attributes:
        thumbnails: A few images that this user liked.
        similarity: -1 to 1, see `prefgen.user_similarity.user_similarity`.
        tokens: Contribution of each preference token to the similarity of attention.
    """

    name: str
    thumbnails: tuple[Image, ...]
    similarity: float
    tokens: tuple[float, ...] = ()
