"""A user's history: the pairs of a liked and a disliked image that tell a taste (method.md section 1)."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from .errors import HistoryError
from .images import check_images, read_image
from .validation import require_text

PAIRS_FILE = "pairs.json"


@dataclass(frozen=True, eq=False)
class PreferencePair:
    """One choice: of two images of the same prompt, the one liked and the one disliked.

    liked, disliked: float tensors (3, H, W) in [0, 1], of any size. Raises ImageError if one cannot be used, and
    HistoryError for a prompt that is no text (half a character, as JSON can spell it).
    """

    liked: Tensor
    disliked: Tensor
    prompt: str = ""

    def __post_init__(self) -> None:
        check_images(self.liked, "The liked image of a pair")
        check_images(self.disliked, "The disliked image of a pair")
        require_text(self.prompt, "The prompt of a pair", HistoryError)


@dataclass(frozen=True, eq=False)
class UserHistory:
    """A user's pairs, oldest first. Raises HistoryError when there are none: no history at all is `None`, not an
    empty one, so that an unconnected input is never mistaken for a user without taste."""

    pairs: tuple[PreferencePair, ...]
    name: str = "user"

    def __post_init__(self) -> None:
        if not self.pairs:
            raise HistoryError(
                f"The history of {self.name!r} is empty, expected at least one pair of a liked and a disliked image: "
                "add pairs (8 work best)."
            )

    def __len__(self) -> int:
        return len(self.pairs)

    @cached_property
    def digest(self) -> str:
        """sha256 (hex) of every pixel and prompt, in order: two histories with the same digest read the same."""
        digest = hashlib.sha256()
        for pair in self.pairs:
            digest.update(json.dumps(pair.prompt).encode())
            _add_image(digest, pair.liked)
            _add_image(digest, pair.disliked)
        return digest.hexdigest()

    @classmethod
    def from_images(cls, liked: Tensor, disliked: Tensor, prompts: list[str] | None = None, name: str = "user"):
        """Pair image i of `liked` (N, 3, H, W) with image i of `disliked` (N, 3, h, w).

        prompts: one a pair, one for all, or none. Raises HistoryError when the numbers do not match.
        """
        liked = check_images(liked, "The liked batch", batch=True) if len(liked) else liked
        disliked = check_images(disliked, "The disliked batch", batch=True) if len(disliked) else disliked
        if len(liked) != len(disliked):
            raise HistoryError(
                f"Found {len(liked)} liked and {len(disliked)} disliked images, expected as many of each: "
                "image i of one batch is paired with image i of the other."
            )
        prompts = list(prompts or [""])
        if len(prompts) == 1:
            prompts = prompts * len(liked)
        if len(prompts) != len(liked):
            raise HistoryError(
                f"Found {len(prompts)} prompts for {len(liked)} pairs, expected one a pair, one for all, or none: "
                "write one prompt a line."
            )
        return cls(tuple(map(PreferencePair, liked, disliked, prompts)), name)

    @classmethod
    def from_folder(cls, path: str | Path) -> UserHistory:
        """Read a folder holding `pairs.json` and its images.

        The file: `{"name": str, "pairs": [{"liked": file, "disliked": file, "prompt": str}]}`; files are relative to
        the folder and may not leave it. Raises HistoryError for a missing or malformed file, ImageError for an image.
        """
        folder = Path(path).resolve()
        listing = folder / PAIRS_FILE
        try:
            described = json.loads(listing.read_text(encoding="utf-8"))
            rows = [(row["liked"], row["disliked"], _text(row.get("prompt"))) for row in described["pairs"]]
            name = str(described.get("name", folder.name))
        except OSError as error:
            raise HistoryError(f"{listing} could not be read ({error.strerror}): name a folder that has it.") from error
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise HistoryError(
                f"{listing} is not a list of pairs ({error!r}), expected "
                '{"name": ..., "pairs": [{"liked": file, "disliked": file, "prompt": text}]}: correct the file.'
            ) from error
        return cls(tuple(PreferencePair(_inside(folder, a), _inside(folder, b), text) for a, b, text in rows), name)


@dataclass(frozen=True, eq=False)
class LikedImages:
    """What is known of a user who liked images and disliked none yet, oldest first: no history, for there is no pair,
    and only the `img` part of a user embedding can be made of it. Images as in a pair.

    It may stand where a history is expected: whoever asks it for pairs gets the HistoryError that says so. Raises
    HistoryError when there are no images, ImageError if one cannot be used.
    """

    liked: tuple[Tensor, ...]
    name: str = "user"

    def __post_init__(self) -> None:
        if not self.liked:
            raise HistoryError(f"{self.name!r} has liked no image, expected one at least: like an image.")
        for image in self.liked:
            check_images(image, "A liked image")

    @property
    def pairs(self) -> tuple[PreferencePair, ...]:
        """Raises HistoryError."""
        raise HistoryError(
            f"{self.name!r} has {len(self.liked)} liked images and has disliked none, and a taste is read from pairs "
            "of both: dislike an image at least. Until then Encode User History gives what the liked images look like."
        )

    def __len__(self) -> int:
        return len(self.pairs)

    @cached_property
    def digest(self) -> str:
        """sha256 (hex) of every pixel, in order."""
        digest = hashlib.sha256(b"liked images alone")
        for image in self.liked:
            _add_image(digest, image)
        return digest.hexdigest()


@dataclass(frozen=True, eq=False)
class NothingLiked:
    """Somebody of whom nothing is known yet, where a history is expected: what they would paint with is painted
    plainly, and whoever asks for pairs gets the HistoryError that says why there are none.

    why: what is missing and what to do, as a sentence.
    """

    name: str
    why: str

    @property
    def pairs(self) -> tuple[PreferencePair, ...]:
        """Raises HistoryError."""
        raise HistoryError(self.why)

    def __len__(self) -> int:
        return len(self.pairs)

    @cached_property
    def digest(self) -> str:
        """sha256 (hex): the same for everybody."""
        return hashlib.sha256(b"nothing liked").hexdigest()


def _add_image(digest: hashlib._Hash, image: Tensor) -> None:
    digest.update(str(tuple(image.shape)).encode())
    digest.update(image.detach().to("cpu", torch.float32).contiguous().numpy().tobytes())


def _inside(folder: Path, name: object) -> Tensor:
    """Read image `name` of `folder`, refusing a path that leaves it (a shared folder must not read other files)."""
    try:
        path = (folder / str(name)).resolve()
    except ValueError as error:
        raise HistoryError(f"{PAIRS_FILE} names {str(name)!r}, which no file is called: correct the file.") from error
    if not path.is_relative_to(folder):
        raise HistoryError(f"{PAIRS_FILE} names {str(name)!r}, which is outside {folder}: keep the images beside it.")
    return read_image(path)


def _text(prompt: object) -> str:
    return "" if prompt is None else str(prompt)
