"""A profile as a history: which images are chosen, and only those are read."""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from ..errors import ProfileError, ProfileNotFoundError
from .pairing import (
    LikedImage,
    RatedPair,
    SelectionConfig,
    derive_pairs,
    liked_images,
    select,
)
from .store import Profile

if TYPE_CHECKING:
    from ..history import LikedImages, UserHistory

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class HistorySelection:
    """What of a profile makes its history, oldest first: pairs, or liked images where nothing is disliked."""

    name: str
    shown: tuple[RatedPair, ...] | tuple[LikedImage, ...]

    @property
    def has_pairs(self) -> bool:
        """Something liked and something disliked."""
        return isinstance(self.shown[0], RatedPair)

    @cached_property
    def digest(self) -> str:
        """sha256 (hex) of the images' digests and prompts, in order: the same as long as the history is, whatever else
        was rated."""
        told = [self.name, [[*shown.images, shown.prompt] for shown in self.shown]]
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()


def select_history(profile: Profile, selection: SelectionConfig) -> HistorySelection:
    """Choose without opening an image. Ratings whose image is gone are left out, and logged.

    Raises ProfileMissing where nothing is rated, ProfileError where nothing is liked.
    """
    ratings = profile.ratings
    if not ratings:
        raise ProfileNotFoundError(f"Nothing is rated in the profile {profile.name!r}: like or dislike an image first.")
    kept = profile.image_digests()
    there = [rating for rating in ratings if rating.image in kept]
    if len(there) < len(ratings):
        log.warning("%s: %d rated images are gone and left out.", profile.folder, len(ratings) - len(there))
    found = derive_pairs(there) or liked_images(there)
    if not found:
        raise ProfileError(
            f"Nothing is liked in the profile {profile.name!r} ({len(there)} disliked): like an image as well."
        )
    return HistorySelection(profile.name, tuple(select(found, selection)))


def read_history(profile: Profile, choice: HistorySelection) -> UserHistory | LikedImages:
    """Read the chosen images. An image in several pairs is read once. Raises ImageError where one is broken, and
    ProfileMissing where it was forgotten in the meantime."""
    from ..history import LikedImages, PreferencePair, UserHistory
    from ..images import read_image

    digests = {digest for shown in choice.shown for digest in shown.images}
    read = {digest: read_image(profile.image_path(digest)) for digest in digests}
    if choice.has_pairs:
        pairs = (PreferencePair(*(read[digest] for digest in shown.images), shown.prompt) for shown in choice.shown)
        return UserHistory(tuple(pairs), choice.name)
    return LikedImages(tuple(read[shown.images[0]] for shown in choice.shown), choice.name)
