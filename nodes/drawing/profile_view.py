"""What somebody rated, newest first, and the history it makes: of a profile, or of the people of the pack."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from PIL.Image import Image

from ...prefgen.errors import ProfileError, ProfileUnwritable
from ...prefgen.history import UserHistory
from ...prefgen.images import read_image
from ...prefgen.profile import Profile, Profiles, Selection, choose, read_history
from ...prefgen.user_similarity import Target
from ..images import to_picture
from ..server.request_user import people, people_folder
from .profile_panel import Person, Shown

SMALL = 448
"""Pixels of an image's longest edge, where a person looks at many."""


@dataclass(frozen=True)
class RatedImage:
    """key: its digest; of the pack's people, a name of our own. read: gets the image (3, H, W) and its prompt."""

    key: str
    liked: bool
    read: Callable[[], Target]

    def small(self) -> Image:
        """How it is shown among others."""
        picture = to_picture(self.read()[0])
        picture.thumbnail((SMALL, SMALL))
        return picture


@dataclass(frozen=True)
class RatedBy:
    """history: None as long as there is no pair. keys: of its pairs' images. images: all that are there."""

    name: str
    liked: int
    disliked: int
    images: list[RatedImage]
    history: UserHistory | None = None
    keys: Sequence[tuple[str, ...]] = ()

    def newest(self, most: int) -> list[RatedImage]:
        """At most so many liked and so many disliked ones."""
        sides = ([image for image in self.images if image.liked is liked][:most] for liked in (True, False))
        return [image for side in sides for image in side]


def on_the_wall(person: RatedBy, looks: dict[str, Image]) -> Person:
    """A person as a panel shows them. looks: the small images, by key, newest first."""
    liked = {image.key: image.liked for image in person.images}
    shown = tuple(Shown(picture, liked[key]) for key, picture in looks.items())
    return Person(person.name, person.liked, person.disliked, shown)


def rated_by(name: str, profiles: Profiles, selection: Selection) -> RatedBy:
    """One person, the history read. Raises ProfileMissing where nothing was ever rated under the name, ImageError as
    `read_history`."""
    return _of_pack(name, selection) if name in people() else _of_profile(profiles.existing(name), selection)


def _of_pack(name: str, selection: Selection) -> RatedBy:
    whole = UserHistory.from_folder(people_folder() / name)
    history = UserHistory(whole.pairs[-selection.most :], whole.name)
    images, keys = [], []
    for place, pair in reversed(list(enumerate(whole.pairs))):
        sides = {f"{name} liked {place}": pair.liked, f"{name} disliked {place}": pair.disliked}
        for (key, image), liked in zip(sides.items(), (True, False), strict=True):
            images.append(RatedImage(key, liked, partial(_same, (image, pair.prompt))))
        keys.append(tuple(sides))
    return RatedBy(name, len(whole), len(whole), images, history, keys[: len(history)][::-1])


def _of_profile(profile: Profile, selection: Selection) -> RatedBy:
    history, keys = None, []
    try:
        choice = choose(profile, selection)
    except ProfileUnwritable:
        raise
    except ProfileError:  # nothing liked; nothing rated any more
        choice = None
    if choice and choice.has_pairs:
        history, keys = read_history(profile, choice), [shown.images for shown in choice.shown]
    return replace(unread(profile), history=history, keys=keys)


def unread(profile: Profile) -> RatedBy:
    """What a profile holds; its history is not read."""
    ratings, kept = profile.ratings, profile.kept_images()
    images = [
        RatedImage(rating.image, rating.liked, partial(_read, profile, rating.image, rating.prompt))
        for rating in reversed(ratings)
        if rating.image in kept
    ]
    liked = sum(rating.liked for rating in ratings)
    return RatedBy(profile.name, liked, len(ratings) - liked, images)


def _same(target: Target) -> Target:
    return target


def _read(profile: Profile, digest: str, prompt: str) -> Target:
    return read_image(profile.image_path(digest)), prompt
