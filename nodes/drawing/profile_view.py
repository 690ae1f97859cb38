"""Collects what the picture of a profile shows: the rated images and the history of a profile or a bundled user."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from PIL.Image import Image

from ...prefgen.errors import ProfileError, ProfileUnavailableError
from ...prefgen.history import RatedImage, UserHistory
from ...prefgen.images import read_image
from ...prefgen.pocket.users import bundled_history, bundled_users
from ...prefgen.profile import Profile, Profiles, SelectionConfig, read_history, select_history
from ...prefgen.user_similarity import PromptedImage
from ..images import to_pil
from .profile_panel import PanelContent, RatedThumbnail

THUMBNAIL_SIZE = 448
"""Pixels of a thumbnail's longest edge."""


@dataclass(frozen=True)
class ProfileImage:
    """A rated image.

    Attributes:
        key: Digest of the image. For a bundled user, a name that is unique among the user's images.
        liked: Whether it is liked.
        prompt: Prompt of the image, or "".
        read: Reads the image (3, H, W) and its prompt.
    """

    key: str
    liked: bool
    prompt: str
    read: Callable[[], PromptedImage]

    def as_rating(self, order: int) -> RatedImage:
        """Return the image as evidence for a taste head. Images of a higher order were rated later."""
        return RatedImage(self.key, self.liked, self.prompt, float(order), order, lambda: self.read()[0])

    def thumbnail(self) -> Image:
        """Read the image as a small PIL image."""
        image = to_pil(self.read()[0])
        image.thumbnail((THUMBNAIL_SIZE, THUMBNAIL_SIZE))
        return image


@dataclass(frozen=True)
class ProfileView:
    """The content of a profile.

    Attributes:
        liked, disliked: Number of likes and number of dislikes.
        images: All rated images that are still stored, newest first.
        history: The pairs of images, or None if there are none.
        pair_keys: The keys of the liked and the disliked image of each pair of the history.
    """

    name: str
    liked: int
    disliked: int
    images: list[ProfileImage]
    history: UserHistory | None = None
    pair_keys: Sequence[tuple[str, ...]] = ()

    def newest(self, count: int) -> list[ProfileImage]:
        """Return at most `count` liked and `count` disliked images."""
        sides = ([image for image in self.images if image.liked is liked][:count] for liked in (True, False))
        return [image for side in sides for image in side]


def panel_content(view: ProfileView, thumbnails: dict[str, Image]) -> PanelContent:
    """Convert a view to the content of a panel.

    Args:
        thumbnails: The images to show by key, newest first.
    """
    liked = {image.key: image.liked for image in view.images}
    rated = tuple(RatedThumbnail(thumbnail, liked[key]) for key, thumbnail in thumbnails.items())
    return PanelContent(view.name, view.liked, view.disliked, rated)


def load_profile_view(name: str, profiles: Profiles, config: SelectionConfig) -> ProfileView:
    """Load a profile or a bundled user with its history.

    Raises:
        ProfileNotFoundError: There is no such profile.
        ImageError: An image of the history cannot be read.
    """
    return (
        _view_bundled_user(name, config) if name in bundled_users() else _view_profile(profiles.existing(name), config)
    )


def _view_bundled_user(name: str, config: SelectionConfig) -> ProfileView:
    complete = bundled_history(name)
    history = UserHistory(complete.pairs[-config.max_pairs :], complete.name)
    images, pair_keys = [], []
    for index, pair in reversed(list(enumerate(complete.pairs))):
        sides = {f"{name} liked {index}": pair.liked, f"{name} disliked {index}": pair.disliked}
        for (key, image), liked in zip(sides.items(), (True, False), strict=True):
            images.append(ProfileImage(key, liked, pair.prompt, partial(_return_image, (image, pair.prompt))))
        pair_keys.append(tuple(sides))
    return ProfileView(name, len(complete), len(complete), images, history, pair_keys[: len(history)][::-1])


def _view_profile(profile: Profile, config: SelectionConfig) -> ProfileView:
    view = view_without_history(profile)
    try:
        selection = select_history(profile, config)
    except ProfileUnavailableError:
        raise
    except ProfileError:  # no image is liked, or all ratings were withdrawn
        return view
    if not selection.has_pairs:
        return view
    history, pair_keys = read_history(profile, selection), [item.images for item in selection.items]
    return replace(view, history=history, pair_keys=pair_keys)


def view_without_history(profile: Profile) -> ProfileView:
    """Load a profile without its history."""
    ratings, stored = profile.ratings, profile.image_digests()
    images = [
        ProfileImage(
            rating.image, rating.liked, rating.prompt, partial(_read_image, profile, rating.image, rating.prompt)
        )
        for rating in reversed(ratings)
        if rating.image in stored
    ]
    liked = sum(rating.liked for rating in ratings)
    return ProfileView(profile.name, liked, len(ratings) - liked, images)


def _return_image(image: PromptedImage) -> PromptedImage:
    return image


def _read_image(profile: Profile, digest: str, prompt: str) -> PromptedImage:
    return read_image(profile.image_path(digest)), prompt
