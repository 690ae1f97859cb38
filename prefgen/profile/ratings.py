"""The ratings of one profile: an append-only file of JSON lines, and what they come to.

The first line is the file's own: `{"prefgen_profile": 1, "id": random}`. Every other one is a rating, `{"time",
"image", "liked", "prompt", "look"}`, or, with `"liked": null`, the taking back of the image's rating before. A line
counts once its line feed is there, so that whoever reads needs no lock, and a crash at any byte costs the line being
written and no other.
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
from .images import DIGEST

FORMAT = 1
HEADER = "prefgen_profile"
HEAD = 64
"""Bytes at a file's beginning by which another file of the same name is noticed: they hold its random id."""

MAX_PROMPT_LENGTH = 4000
"""Characters of a prompt that are kept: PrefDisc reads 100 tokens of them (default ours)."""

UNFINISHED = ".part"
"""What a file is called until it is whole."""

SYNC = getattr(os, "fdatasync", os.fsync)

log = logging.getLogger(__name__)


class Rating(NamedTuple):
    """One image liked or disliked. image: its digest. time: seconds since 1970. look: see `Picture.look`, or "".
    line: which line of the file it is, which tells apart what was rated at the same time."""

    image: str
    liked: bool
    prompt: str = ""
    time: float = 0.0
    look: str = ""
    line: int = 0


class RatingLog:
    """The file, read as far as it has grown: asking again costs what was added since. For any number of threads;
    whoever appends holds the profile's lock."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._guard = RLock()
        self._forget()

    def _forget(self) -> None:
        self._head = b""
        self._read = 0
        self._line = 0
        self._standing: dict[str, list[Rating]] = {}
        self._sorted: list[Rating] | None = None
        self.skipped = 0

    def refresh(self) -> RatingLog:
        """Take in what others have written; returns itself. A file that is not there is one without ratings. Raises
        ProfileUnwritable where it cannot be read, ProfileError where it is of a newer format."""
        with self._guard:
            try:
                with self.path.open("rb") as file:
                    size = os.fstat(file.fileno()).st_size
                    head = file.read(HEAD)
                    if size < self._read or head[: len(self._head)] != self._head:
                        self._forget()  # forgotten and begun anew
                    if size > self._read:
                        file.seek(self._read)
                        self._take(file.read())
                        self._head = head[: self._read]
            except FileNotFoundError:
                self._forget()
            except OSError as error:
                raise ProfileUnavailableError(
                    f"{self.path} could not be read ({error.strerror}): check that file."
                ) from error
            return self

    @property
    def version(self) -> str:
        """A word that is another after every rating, undo or forgetting."""
        with self._guard:
            return f"{hashlib.sha256(self._head).hexdigest()[:12]}-{self._read}"

    @property
    def standing(self) -> dict[str, list[Rating]]:
        """Each rated image's ratings that were not taken back, oldest first: the last one counts. For the lock's
        holder: others may see it change."""
        return self._standing

    def rating(self, image: str) -> Rating | None:
        """The rating of an image that counts."""
        with self._guard:
            ratings = self._standing.get(image)
            return ratings[-1] if ratings else None

    @property
    def ratings(self) -> list[Rating]:
        """The ratings that count, oldest first."""
        with self._guard:
            if self._sorted is None:
                counting = (ratings[-1] for ratings in self._standing.values())
                self._sorted = sorted(counting, key=lambda rating: (rating.time, rating.line))
            return self._sorted

    def _take(self, data: bytes) -> None:
        """Read whole lines; what is behind the last line feed is still being written, or never will be."""
        whole = data.rfind(b"\n") + 1
        before = self.skipped
        for text in data[:whole].split(b"\n")[:-1]:
            self._line += 1
            self._replay(text)
        self._read += whole
        self._sorted = None
        if self.skipped > before:
            log.warning("%s: %d lines cannot be read and are left out.", self.path, self.skipped - before)

    def _replay(self, text: bytes) -> None:
        try:
            told = json.loads(text)
            if HEADER in told:
                self._require_format(told[HEADER])
                return
            image, liked, time = told["image"], told["liked"], float(told["time"])
            prompt, look = told.get("prompt", ""), told.get("look", "")
            words = isinstance(prompt, str) and isinstance(look, str)
            if liked not in (True, False, None) or not DIGEST.fullmatch(image) or not math.isfinite(time) or not words:
                raise ValueError
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            if isinstance(error, ProfileError):
                raise
            self.skipped += bool(text)
            return
        if liked is not None:
            self._standing.setdefault(image, []).append(Rating(image, bool(liked), prompt, time, look, self._line))
        elif image in self._standing:
            self._standing[image].pop()
            if not self._standing[image]:
                del self._standing[image]

    def _require_format(self, found: object) -> None:
        if found != FORMAT:
            raise ProfileError(
                f"{self.path} is a profile of format {found!r}, expected {FORMAT}: update PrefGen to read it."
            )

    def append(self, lines: Iterable[dict]) -> None:
        """Write lines, and return when they are on the disk. Raises ProfileUnwritable where they cannot be; what of
        them was written is taken back."""
        text = "".join(json.dumps(line) + "\n" for line in lines).encode()
        if not self.path.exists():
            write_whole(self.path, header() + text)
            sync_folder(self.path.parent)
            self.refresh()
            return
        if self.path.stat().st_size > self.refresh()._read:
            text = b"\n" + text  # behind half a line that a crash has left
        try:
            file = os.open(self.path, os.O_WRONLY | os.O_APPEND | getattr(os, "O_BINARY", 0))
            size = os.fstat(file).st_size
            try:
                left = memoryview(text)
                while left:
                    left = left[os.write(file, left) :]
                SYNC(file)
            except OSError:
                os.ftruncate(file, size)
                raise
            finally:
                os.close(file)
        except OSError as error:
            raise ProfileUnavailableError(
                f"{self.path} could not be written ({error.strerror}): make room, or free it."
            ) from error
        self.refresh()

    def leave_out(self, image: str) -> None:
        """Write the file anew without an image: the one thing that takes lines away. They are gone for good."""
        kept = [rating for ratings in self.refresh().standing.values() for rating in ratings if rating.image != image]
        kept.sort(key=lambda rating: rating.line)
        write_whole(self.path, header() + "".join(json.dumps(as_line(rating)) + "\n" for rating in kept).encode())
        sync_folder(self.path.parent)
        self.refresh()


def as_line(rating: Rating) -> dict:
    """A rating as its line of the file."""
    told = {"time": round(rating.time, 3), "image": rating.image, "liked": rating.liked, "prompt": rating.prompt}
    return told | ({"look": rating.look} if rating.look else {})


def header() -> bytes:
    """A first line, with a new id."""
    return (json.dumps({HEADER: FORMAT, "id": secrets.token_hex(12)}) + "\n").encode()


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that it is there whole or not at all; once its folder is synced it is on the disk. For the
    lock's holder: a folder has one unfinished file at most, which the next one replaces. Raises ProfileUnwritable
    where it cannot be written."""
    part = path.with_name(UNFINISHED)
    try:
        make_folder(path.parent)
        try:
            with part.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise ProfileUnavailableError(
            f"{path} could not be written ({error.strerror}): make room, or free it."
        ) from error


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, on the disk. Raises OSError where it cannot be made."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Names made in a folder are on the disk (Windows has no such call, and needs none)."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
