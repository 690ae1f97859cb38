"""The ratings of one profile: an append-only file of JSON lines, and the state to which its lines add up.

The first line identifies the file: `{"prefgen_profile": 1, "id": random}`. Every other line is a rating, `{"time",
"image", "liked", "prompt", "look"}`, where "look" holds the color grid. A line with `"liked": null` takes back the last
rating of its image. A line counts once it ends in a line feed. So readers need no lock, and a crash at any byte loses
only the line being written.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import secrets
from collections.abc import Iterable
from pathlib import Path
from threading import RLock
from typing import NamedTuple

from ..errors import ProfileError, ProfileUnavailableError
from ..validation import errors_as
from .durable_files import append_synced, sync_folder, write_atomic
from .images import DIGEST

FORMAT_VERSION = 1
FORMAT_KEY = "prefgen_profile"
HEAD_BYTES = 64
"""Bytes at the start of a file that tell it from another file of the same name: they contain its random id."""

MAX_PROMPT_LENGTH = 4000
"""Maximum characters of a stored prompt. PrefDisc reads 100 tokens of it (our choice)."""

MALFORMED = (ValueError, KeyError, TypeError, OverflowError, RecursionError)
"""Exceptions that a malformed line can cause."""

log = logging.getLogger(__name__)


class Rating(NamedTuple):
    """A liked or disliked image.

    Attributes:
        image: Digest of the image.
        time: Seconds since 1970.
        color_grid: See `StoredImage.color_grid`. "" where it is unknown.
        line: Number of the line in the file, which orders ratings of the same time.
    """

    image: str
    liked: bool
    prompt: str = ""
    time: float = 0.0
    color_grid: str = ""
    line: int = 0


class RatingLog:
    """The file of ratings. It is read incrementally, and can be used by several threads.

    Callers of `append` and `remove_image` must hold the profile's write lock.

    Attributes:
        skipped: Number of lines that could not be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._guard = RLock()
        self._reset()

    def _reset(self) -> None:
        self._head = b""
        self._bytes_read = 0
        self._lines_read = 0
        self._history: dict[str, list[Rating]] = {}
        self._sorted: list[Rating] | None = None
        self.skipped = 0

    def refresh(self) -> RatingLog:
        """Read what was appended since the last call, and return self. A missing file has no ratings.

        Raises:
            ProfileUnavailableError: The file cannot be read.
            ProfileError: The file has a newer format.
        """
        with self._guard:
            with errors_as(ProfileUnavailableError, f"{self.path} could not be read", "Check the file."):
                try:
                    self._read_new_lines()
                except FileNotFoundError:
                    self._reset()
            return self

    def _read_new_lines(self) -> None:
        with self.path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            head = file.read(HEAD_BYTES)
            if size < self._bytes_read or head[: len(self._head)] != self._head:
                self._reset()  # another file has taken its place
            if size > self._bytes_read:
                file.seek(self._bytes_read)
                self._apply(file.read())
                self._head = head[: self._bytes_read]

    @property
    def version(self) -> str:
        """A string that changes with every rating, undo and removal."""
        with self._guard:
            return f"{hashlib.sha256(self._head).hexdigest()[:12]}-{self._bytes_read}"

    @property
    def ratings_by_image(self) -> dict[str, list[Rating]]:
        """The ratings of each image that were not taken back, oldest first; the last one counts.

        Only for the holder of the write lock, because another thread's refresh changes it.
        """
        return self._history

    def rating(self, image: str) -> Rating | None:
        """Return the rating of an image that counts, or None."""
        with self._guard:
            ratings = self._history.get(image)
            return ratings[-1] if ratings else None

    @property
    def ratings(self) -> list[Rating]:
        """The ratings that count, one per image, oldest first."""
        with self._guard:
            if self._sorted is None:
                current = (ratings[-1] for ratings in self._history.values())
                self._sorted = sorted(current, key=lambda rating: (rating.time, rating.line))
            return self._sorted

    def _apply(self, data: bytes) -> None:
        """Apply all complete lines. What follows the last line feed is incomplete, and may stay so."""
        complete = data.rfind(b"\n") + 1
        skipped_before = self.skipped
        for line in data[:complete].split(b"\n")[:-1]:
            self._lines_read += 1
            self._apply_line(line)
        self._bytes_read += complete
        self._sorted = None
        if self.skipped > skipped_before:
            log.warning("%s: skipped %d malformed lines.", self.path, self.skipped - skipped_before)

    def _apply_line(self, line: bytes) -> None:
        try:
            entry = json.loads(line)
            version = entry.get(FORMAT_KEY, FORMAT_VERSION)
            rating = None if FORMAT_KEY in entry else _parse_rating(entry, self._lines_read)
        except (*MALFORMED, AttributeError):
            self.skipped += bool(line)
            return
        if version != FORMAT_VERSION:
            raise ProfileError(f"{self.path} has format {version!r}; expected {FORMAT_VERSION}. Update PrefGen.")
        if rating is None:
            return
        if rating.liked is not None:
            self._history.setdefault(rating.image, []).append(rating._replace(liked=bool(rating.liked)))
        elif rating.image in self._history:
            self._history[rating.image].pop()
            if not self._history[rating.image]:
                del self._history[rating.image]

    def append(self, lines: Iterable[dict]) -> None:
        """Append lines, and return when they are on the disk.

        Raises:
            ProfileUnavailableError: They could not be written. The file then stays as it was.
        """
        data = b"".join(map(encode_line, lines))
        if not self.path.exists():
            write_atomic(self.path, new_header() + data)
            sync_folder(self.path.parent)
            self.refresh()
            return
        if self.path.stat().st_size > self.refresh()._bytes_read:
            data = b"\n" + data  # ends the incomplete line that a crash has left
        append_synced(self.path, data)
        self.refresh()

    def remove_image(self, image: str) -> None:
        """Rewrite the file without an image. This is the only operation that removes lines."""
        ratings_by_image = self.refresh().ratings_by_image
        remaining = [rating for ratings in ratings_by_image.values() for rating in ratings if rating.image != image]
        remaining.sort(key=lambda rating: rating.line)
        write_atomic(self.path, new_header() + b"".join(encode_line(rating_to_json(rating)) for rating in remaining))
        sync_folder(self.path.parent)
        self.refresh()


def _parse_rating(entry: dict, line: int) -> Rating:
    """Return the rating of a line, whose `liked` is None for an undo. Raises one of `MALFORMED`."""
    image, liked, time = entry["image"], entry["liked"], float(entry["time"])
    prompt, color_grid = entry.get("prompt", ""), entry.get("look", "")
    texts = isinstance(prompt, str) and isinstance(color_grid, str)
    if liked not in (True, False, None) or not DIGEST.fullmatch(image) or not math.isfinite(time) or not texts:
        raise ValueError
    return Rating(image, liked, prompt, time, color_grid, line)


def rating_to_json(rating: Rating) -> dict:
    """Return the JSON object of a rating's line."""
    entry = {"time": round(rating.time, 3), "image": rating.image, "liked": rating.liked, "prompt": rating.prompt}
    return entry | ({"look": rating.color_grid} if rating.color_grid else {})


def encode_line(entry: dict) -> bytes:
    """Encode a JSON object as a line of the file."""
    return (json.dumps(entry) + "\n").encode()


def new_header() -> bytes:
    """Return a first line with a new id."""
    return encode_line({FORMAT_KEY: FORMAT_VERSION, "id": secrets.token_hex(12)})
