"""Selects the images of a profile that make its history, and reads only those."""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING

from ..errors import ProfileError, ProfileNotFoundError
from ..validation import require
from .pairing import LikedImage, RatedPair, SelectionConfig, derive_pairs, liked_images, select_pairs
from .ratings import Rating
from .store import Profile

if TYPE_CHECKING:
    from ..history import History

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class HistorySelection:
    """The selected part of a profile, oldest first: pairs, or liked images where nothing is disliked."""

    name: str
    items: tuple[RatedPair, ...] | tuple[LikedImage, ...]
    num_missing: int = 0
    """Number of ratings that were skipped, because their image is missing."""
    ratings: tuple[Rating, ...] = ()
    """All ratings of the profile whose image is there."""
    half_life_days: float = 0.0

    @property
    def has_pairs(self) -> bool:
        """True if the items are pairs."""
        return isinstance(self.items[0], RatedPair)

    @cached_property
    def digest(self) -> str:
        """The sha256 (hex) of the images' digests and prompts in order. Other ratings do not change it."""
        content = [self.name, [[*item.images, item.prompt] for item in self.items]]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def select_history(profile: Profile, config: SelectionConfig) -> HistorySelection:
    """Select pairs without opening an image. Ratings whose image is missing are skipped.

    Raises:
        ProfileNotFoundError: Nothing is rated.
        ProfileError: Nothing is liked.
    """
    ratings = profile.ratings
    require(ratings, ProfileNotFoundError, f"Profile {profile.name!r} has no ratings. Like or dislike an image first.")
    stored = profile.image_digests()
    usable = [rating for rating in ratings if rating.image in stored]
    candidates = derive_pairs(usable) or liked_images(usable)
    problem = f"Profile {profile.name!r} has {len(usable)} dislikes and no likes"
    require(candidates, ProfileError, f"{problem}. Like at least one image.")
    selected, missing = tuple(select_pairs(candidates, config)), len(ratings) - len(usable)
    return HistorySelection(profile.name, selected, missing, tuple(usable), config.half_life_days)


def read_history(profile: Profile, selection: HistorySelection) -> History:
    """Read the selected images, each one once. Logs how many ratings the selection skipped.

    The history also has all ratings of the profile, whose images are read on demand.

    Raises:
        ImageError: An image cannot be decoded.
        ProfileNotFoundError: An image was removed in the meantime.
    """
    from ..history import LikedImages, PreferencePair, RatedImage, UserHistory
    from ..images import read_image

    if selection.num_missing:
        log.warning("Profile %r: skipped %d ratings whose image is missing.", profile.name, selection.num_missing)
    digests = {digest for item in selection.items for digest in item.images}
    images = {digest: read_image(profile.image_path(digest)) for digest in digests}
    ratings = tuple(
        RatedImage(
            *(rating.image, rating.liked, rating.prompt, rating.time, rating.line),
            read=partial(read_image, profile.image_path(rating.image)),
        )
        for rating in selection.ratings
    )
    context = selection.name, ratings, selection.half_life_days
    if selection.has_pairs:
        pairs = (PreferencePair(*(images[digest] for digest in item.images), item.prompt) for item in selection.items)
        return UserHistory(tuple(pairs), *context)
    return LikedImages(tuple(images[item.images[0]] for item in selection.items), *context)
