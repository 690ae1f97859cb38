"""What somebody rated, newest first, and the history it makes: of a profile, or of the people of the pack."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from PIL.Image import Image

from ...prefgen.errors import ProfileError, ProfileUnavailableError
from ...prefgen.history import UserHistory
from ...prefgen.images import read_image
from ...prefgen.pocket.users import BUNDLED_USERS_FOLDER, bundled_users
from ...prefgen.profile import Profile, Profiles, SelectionConfig, read_history, select_history
from ...prefgen.user_similarity import Target
from ..images import to_pil
from .profile_panel import PanelUser, RatedThumbnail

SMALL = 448
"""Pixels of an image's longest edge, where a person looks at many."""


@dataclass(frozen=True)
class ProfileImage:
    """key: its digest; of the pack's people, a name of our own. read: gets the image (3, H, W) and its prompt."""

    key: str
    liked: bool
    read: Callable[[], Target]

    def small(self) -> Image:
        """How it is shown among others."""
        picture = to_pil(self.read()[0])
        picture.thumbnail((SMALL, SMALL))
        return picture


@dataclass(frozen=True)
class ProfileView:
    """history: None as long as there is no pair. keys: of its pairs' images. images: all that are there."""

    name: str
    liked: int
    disliked: int
    images: list[ProfileImage]
    history: UserHistory | None = None
    keys: Sequence[tuple[str, ...]] = ()

    def newest(self, most: int) -> list[ProfileImage]:
        """At most so many liked and so many disliked ones."""
        sides = ([image for image in self.images if image.liked is liked][:most] for liked in (True, False))
        return [image for side in sides for image in side]


def panel_user(person: ProfileView, looks: dict[str, Image]) -> PanelUser:
    """A person as a panel shows them. looks: the small images, by key, newest first."""
    liked = {image.key: image.liked for image in person.images}
    shown = tuple(RatedThumbnail(picture, liked[key]) for key, picture in looks.items())
    return PanelUser(person.name, person.liked, person.disliked, shown)


def load_profile_view(name: str, profiles: Profiles, selection: SelectionConfig) -> ProfileView:
    """One person, the history read. Raises ProfileMissing where nothing was ever rated under the name, ImageError as
    `read_history`."""
    return _of_pack(name, selection) if name in bundled_users() else _of_profile(profiles.existing(name), selection)


def _of_pack(name: str, selection: SelectionConfig) -> ProfileView:
    whole = UserHistory.from_folder(BUNDLED_USERS_FOLDER / name)
    history = UserHistory(whole.pairs[-selection.most :], whole.name)
    images, keys = [], []
    for place, pair in reversed(list(enumerate(whole.pairs))):
        sides = {f"{name} liked {place}": pair.liked, f"{name} disliked {place}": pair.disliked}
        for (key, image), liked in zip(sides.items(), (True, False), strict=True):
            images.append(ProfileImage(key, liked, partial(_same, (image, pair.prompt))))
        keys.append(tuple(sides))
    return ProfileView(name, len(whole), len(whole), images, history, keys[: len(history)][::-1])


def _of_profile(profile: Profile, selection: SelectionConfig) -> ProfileView:
    history, keys = None, []
    try:
        choice = select_history(profile, selection)
    except ProfileUnavailableError:
        raise
    except ProfileError:  # nothing liked; nothing rated any more
        choice = None
    if choice and choice.has_pairs:
        history, keys = read_history(profile, choice), [shown.images for shown in choice.shown]
    return replace(view_without_history(profile), history=history, keys=keys)


def view_without_history(profile: Profile) -> ProfileView:
    """What a profile holds; its history is not read."""
    ratings, kept = profile.ratings, profile.image_digests()
    images = [
        ProfileImage(rating.image, rating.liked, partial(_read, profile, rating.image, rating.prompt))
        for rating in reversed(ratings)
        if rating.image in kept
    ]
    liked = sum(rating.liked for rating in ratings)
    return ProfileView(profile.name, liked, len(ratings) - liked, images)


def _same(target: Target) -> Target:
    return target


def _read(profile: Profile, digest: str, prompt: str) -> Target:
    return read_image(profile.image_path(digest)), prompt
