"""Histories: the pairs of a liked and a disliked image that express a user's taste (docs/paper-index.md, section 1)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from .errors import HistoryError
from .images import check_images, read_image
from .validation import errors_as, require, require_text

PAIRS_FILE = "pairs.json"
EXPECTED_LISTING = '{"name": ..., "pairs": [{"liked": file, "disliked": file, "prompt": text}]}'


@dataclass(frozen=True, eq=False)
class PreferencePair:
    """A choice between two images of the same prompt.

    Attributes:
        liked, disliked: float (3, H, W) in [0, 1], of any size.

    Raises:
        ImageError: An image cannot be used.
        HistoryError: The prompt is not valid text.
    """

    liked: Tensor
    disliked: Tensor
    prompt: str = ""

    def __post_init__(self) -> None:
        check_images(self.liked, "The liked image of a pair")
        check_images(self.disliked, "The disliked image of a pair")
        require_text(self.prompt, "The prompt of a pair", HistoryError)


@dataclass(frozen=True, eq=False)
class RatedImage:
    """A liked or disliked image, read on demand.

    Attributes:
        image: Digest of the image.
        liked: Whether it is liked.
        prompt: Prompt of the image, or "".
        time: Seconds since 1970, or the position in the history.
        line: Order of ratings of the same time.
        read: Reads the image as float (3, H, W) in [0, 1].
    """

    image: str
    liked: bool
    prompt: str
    time: float
    line: int
    read: Callable[[], Tensor]


class History:
    """A user's history: pairs, only liked images, or nothing yet.

    All three can be connected where a history is expected. Without pairs, `pairs` and `len` raise a HistoryError that
    says what is missing.

    Attributes:
        name: The user's name.
        pairs: Pairs of a liked and a disliked image, oldest first.
        has_pairs: Whether there are pairs.
        liked_images, disliked_images: Images (3, H, W), oldest first.
        ratings: All ratings of the user, one per image, also those that are in no pair.
        half_life_days: Days after which a rating counts half for the taste head. 0 ignores age.
        summary: What is used of a profile, in a few words.
        digest: The sha256 (hex) of all pixels and prompts in order.
    """

    name: str
    pairs: tuple[PreferencePair, ...]
    has_pairs: bool = False
    liked_images: tuple[Tensor, ...]
    disliked_images: tuple[Tensor, ...] = ()
    ratings: tuple[RatedImage, ...] = ()
    half_life_days: float = 0.0
    summary: str
    digest: str

    def __len__(self) -> int:
        return len(self.pairs)


@dataclass(frozen=True, eq=False)
class UserHistory(History):
    """A user's pairs, oldest first.

    Functions that work without a history take None in its place. An empty history is an error, so that it is not
    mistaken for an unknown user.

    Raises:
        HistoryError: There are no pairs.
    """

    pairs: tuple[PreferencePair, ...]
    name: str = "user"
    profile_ratings: tuple[RatedImage, ...] = ()
    """All ratings of the profile from which the pairs were selected; empty if there is no profile."""
    half_life_days: float = 0.0
    has_pairs: ClassVar[bool] = True

    def __post_init__(self) -> None:
        require(self.pairs, HistoryError, f"The history of {self.name!r} has no pairs; expected at least one.")

    @cached_property
    def ratings(self) -> tuple[RatedImage, ...]:
        """The profile's ratings, or one for each image of the pairs."""
        images = (
            _rated_image(image, liked, pair.prompt, index)
            for index, pair in enumerate(self.pairs)
            for image, liked in ((pair.liked, True), (pair.disliked, False))
        )
        return self.profile_ratings or tuple({image.image: image for image in images}.values())

    @property
    def liked_images(self) -> tuple[Tensor, ...]:
        return tuple(pair.liked for pair in self.pairs)

    @property
    def disliked_images(self) -> tuple[Tensor, ...]:
        return tuple(pair.disliked for pair in self.pairs)

    @property
    def summary(self) -> str:
        return f"{len(self)} pair{'s' * (len(self) > 1)}"

    @cached_property
    def digest(self) -> str:
        digest = hashlib.sha256()
        for pair in self.pairs:
            digest.update(json.dumps(pair.prompt).encode())
            _add_image(digest, pair.liked)
            _add_image(digest, pair.disliked)
        return digest.hexdigest()

    @classmethod
    def from_images(
        cls, liked: Tensor, disliked: Tensor, prompts: list[str] | None = None, name: str = "user"
    ) -> UserHistory:
        """Pair image i of one batch with image i of the other.

        Args:
            liked: (N, 3, H, W).
            disliked: (N, 3, h, w).
            prompts: One per pair, one for all pairs, or none.

        Raises:
            HistoryError: The numbers of images or prompts do not match.
        """
        if len(liked) != len(disliked):
            raise HistoryError(f"Found {len(liked)} liked and {len(disliked)} disliked images; expected equal numbers.")
        prompts = list(prompts or [""])
        if len(prompts) == 1:
            prompts = prompts * len(liked)
        expected = f"expected {len(liked)}, one for each pair"
        require(len(prompts) == len(liked), HistoryError, f"There are {len(prompts)} prompts; {expected}.")
        return cls(tuple(map(PreferencePair, liked, disliked, prompts)), name)

    @classmethod
    def from_folder(cls, path: str | Path) -> UserHistory:
        """Read a folder with `pairs.json` and its images.

        The file contains `{"name": str, "pairs": [{"liked": file, "disliked": file, "prompt": str}]}`. Files are
        relative to the folder, and must be inside it.

        Raises:
            HistoryError: `pairs.json` is missing or malformed.
            ImageError: An image cannot be read.
        """
        folder = Path(path).resolve()
        listing = folder / PAIRS_FILE
        with errors_as(HistoryError, f"{listing} could not be read", f"Choose a folder with {PAIRS_FILE}."):
            text = listing.read_bytes()
        errors = (ValueError, KeyError, TypeError, AttributeError, RecursionError)
        with errors_as(HistoryError, f"{listing} is not a list of pairs", f"Expected {EXPECTED_LISTING}.", errors):
            content = json.loads(text.decode())
            rows = [(row["liked"], row["disliked"], _prompt_text(row.get("prompt"))) for row in content["pairs"]]
            name = str(content.get("name", folder.name))
        images = [(_read_inside(folder, liked), _read_inside(folder, disliked)) for liked, disliked, _ in rows]
        return cls(tuple(PreferencePair(*pair, row[2]) for pair, row in zip(images, rows, strict=True)), name)


@dataclass(frozen=True, eq=False)
class LikedImages(History):
    """The images of a user who has not disliked any, oldest first.

    Only the `img` part of a user embedding can be computed from it.

    Raises:
        HistoryError: There are no images.
        ImageError: An image cannot be used.
    """

    liked_images: tuple[Tensor, ...]
    name: str = "user"
    profile_ratings: tuple[RatedImage, ...] = ()
    """All ratings of the profile; empty if there is no profile."""
    half_life_days: float = 0.0

    @cached_property
    def ratings(self) -> tuple[RatedImage, ...]:
        """The profile's ratings, or one for each liked image."""
        images = (_rated_image(image, True, "", index) for index, image in enumerate(self.liked_images))
        return self.profile_ratings or tuple({image.image: image for image in images}.values())

    def __post_init__(self) -> None:
        require(self.liked_images, HistoryError, f"User {self.name!r} has no liked images; expected at least one.")
        for image in self.liked_images:
            check_images(image, "A liked image")

    @property
    def pairs(self) -> tuple[PreferencePair, ...]:
        raise HistoryError(
            f"User {self.name!r} has {len(self.liked_images)} likes and no dislikes, but this needs pairs of both. "
            "Dislike at least one image. Until then, only Encode User History works, with the look of the liked images."
        )

    @property
    def summary(self) -> str:
        return f"only the {len(self.liked_images)} liked images are used, until an image is disliked"

    @cached_property
    def digest(self) -> str:
        digest = hashlib.sha256(b"liked images alone")
        for image in self.liked_images:
            _add_image(digest, image)
        return digest.hexdigest()


@dataclass(frozen=True, eq=False)
class NothingLiked(History):
    """A user without likes, for whom images are not personalised.

    Attributes:
        reason: The error message for code that needs pairs: what is missing, and what to do.
    """

    name: str
    reason: str

    @property
    def pairs(self) -> tuple[PreferencePair, ...]:
        raise HistoryError(self.reason)

    @property
    def liked_images(self) -> tuple[Tensor, ...]:
        return ()

    @property
    def summary(self) -> str:
        return "images are not personalised, until one is liked"

    @cached_property
    def digest(self) -> str:
        return hashlib.sha256(b"nothing liked").hexdigest()


def _rated_image(image: Tensor, liked: bool, prompt: str, index: int) -> RatedImage:
    digest = hashlib.sha256()
    _add_image(digest, image)
    return RatedImage(digest.hexdigest(), liked, prompt, float(index), index, lambda: image)


def _add_image(digest: hashlib._Hash, image: Tensor) -> None:
    digest.update(str(tuple(image.shape)).encode())
    digest.update(image.detach().to("cpu", torch.float32).contiguous().numpy().tobytes())


def _read_inside(folder: Path, name: object) -> Tensor:
    """Read an image of a folder. Paths that leave the folder are refused, because such folders are shared."""
    try:
        path = (folder / str(name)).resolve()
        inside = path.is_relative_to(folder)
    except ValueError:  # a NUL character
        inside = False
    require(inside, HistoryError, f"{PAIRS_FILE} names {str(name)!r}; expected a file inside {folder}.")
    return read_image(path)


def _prompt_text(prompt: object) -> str:
    return "" if prompt is None else str(prompt)
