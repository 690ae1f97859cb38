"""Profiles: the door to people's ratings on disk. What has returned is there, whatever is killed afterwards."""

from __future__ import annotations

import os
import secrets
import shutil
import time
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

from ..errors import NothingToUndoError, ProfileError, ProfileNotFoundError, ProfileUnavailableError
from .images import DIGEST, ENDINGS, StoredImage
from .lock import PATIENCE, locked
from .ratings import (
    MAX_PROMPT_LENGTH,
    UNFINISHED,
    Rating,
    RatingLog,
    as_line,
    sync_folder,
    write_whole,
)

RATINGS, IMAGES, LOCK = "ratings.jsonl", "images", ".lock"
GONE, STAGING = ".gone-", ".import-"
"""How folders are called that are being removed, and put together: no profile's name begins with a dot."""

STALE = 24 * 3600.0
"""Seconds after which an import that did not end was killed."""

LONGEST_NAME = 64
PUNCTUATION = " -_."
RESERVED = {"con", "prn", "aux", "nul", *(f"{name}{i}" for name in ("com", "lpt") for i in range(10))}
"""What Windows takes for devices, in any case and whatever ending follows."""


def is_windows_device_name(name: str) -> bool:
    """Whether no file or folder may be called so on Windows."""
    return name.split(".")[0].casefold().strip() in RESERVED


class Profiles:
    """All profiles below one folder; for several people on one ComfyUI, one such folder each.

    root: made with the first rating. taken: names that mean something else to the caller and are refused.
    """

    def __init__(self, root: Path, taken: Sequence[str] = (), patience: float = PATIENCE) -> None:
        self.root = Path(root)
        self.taken = frozenset(name.casefold() for name in taken)
        self.patience = patience
        self._open: dict[str, Profile] = {}
        self._guard = Lock()

    def names(self) -> list[str]:
        """The profiles that are there, sorted."""
        found = self.root.iterdir() if self.root.is_dir() else ()
        return sorted(
            (path.name for path in found if path.name[0] != "." and (path / RATINGS).is_file()), key=str.casefold
        )

    def profile(self, name: str) -> Profile:
        """One person's profile; nothing is written before the first rating. Raises ProfileError for a name that cannot
        be a folder's everywhere, would leave the root, or is taken."""
        name = self._checked(name)
        with self._guard:
            profile = self._open.get(name) or Profile(self, name)
            if (profile.folder / RATINGS).is_file():  # else any name that is asked for would be remembered
                self._open[name] = profile
            return profile

    def existing(self, name: str) -> Profile:
        """The same. Raises ProfileMissing where nothing was ever rated in it."""
        profile = self.profile(name)
        if not (profile.folder / RATINGS).is_file():
            raise ProfileNotFoundError(
                f"There is no profile {profile.name!r}: rate an image first, or choose another name."
            )
        return profile

    def forget(self, name: str) -> None:
        """Remove a profile, images and all, for good. Raises ProfileMissing where it is not there."""
        profile = self.existing(name)
        with self.locked():
            going = self.root / f"{GONE}{secrets.token_hex(8)}"
            try:
                os.rename(profile.folder, going)
            except FileNotFoundError as error:
                raise ProfileNotFoundError(f"There is no profile {name!r} any more.") from error
            except OSError as error:
                raise ProfileUnavailableError(
                    f"{profile.folder} could not be removed ({error.strerror}): try again."
                ) from error
            self._sweep()
        profile.log.refresh()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Be the only one to write below the root. Raises ProfileError as `lock.locked` does."""
        with locked(self.root / LOCK, self.patience):
            yield

    def _sweep(self) -> None:
        """Remove what is on its way out; also what killed servers left."""
        old = [path for path in self.root.glob(f"{STAGING}*") if time.time() - path.stat().st_mtime > STALE]
        for path in (*self.root.glob(f"{GONE}*"), *old):
            shutil.rmtree(path, ignore_errors=True)

    def _checked(self, name: str) -> str:
        name = unicodedata.normalize("NFC", name.strip(" ")) if isinstance(name, str) else ""
        plain = all(letter.isalnum() or letter in PUNCTUATION for letter in name)
        ends = name[:1] == "." or name[-1:] == "."
        if not 0 < len(name) <= LONGEST_NAME or not plain or ends or is_windows_device_name(name):
            raise ProfileError(
                f"{name[:LONGEST_NAME]!r} cannot be the name of a profile, expected up to {LONGEST_NAME} letters, "
                "digits, spaces, '-', '_' and '.', and no '.' at either end: choose another name."
            )
        if name.casefold() in self.taken:
            raise ProfileError(f"{name!r} is one of the people who come with the pack: choose another name.")
        return name


class Profile:
    """One person's ratings and the images they rated. Open it through `Profiles`."""

    def __init__(self, profiles: Profiles, name: str) -> None:
        self.profiles = profiles
        self.name = name
        self.folder = profiles.root / name
        self.images = self.folder / IMAGES
        self.log = RatingLog(self.folder / RATINGS)

    @property
    def ratings(self) -> list[Rating]:
        """The ratings that count, oldest first; one an image. Not to be changed."""
        return self.log.refresh().ratings

    @property
    def version(self) -> str:
        """A word that is another after every change of the ratings, by whatever program."""
        return self.log.refresh().version

    @property
    def skipped(self) -> int:
        """Lines of the file that could not be read: what a crash cut short, or somebody edited."""
        return self.log.refresh().skipped

    def rating(self, image: str) -> Rating | None:
        """The rating of an image that counts."""
        return self.log.refresh().rating(image)

    def rate(self, image: StoredImage | str, liked: bool, prompt: str = "") -> Rating:
        """Like or dislike an image; see `rate_all`."""
        return self.rate_all([(image, liked)], prompt)[0]

    def rate_all(self, rated: Sequence[tuple[StoredImage | str, bool]], prompt: str = "") -> list[Rating]:
        """Like or dislike images that were made for `prompt`: all of them or none, and on the disk when it returns.

        An image is a picture, or the digest of one that the profile holds. To rate one again as it is rated already
        changes nothing, so that whoever had no answer may ask again; to rate it otherwise counts from now on. Raises
        ProfileMissing for the digest of no image here, ProfileError where nothing can be written.
        """
        prompt = prompt.strip()[:MAX_PROMPT_LENGTH].encode(errors="replace").decode()
        files = {image.digest: image.encode() for image, _ in rated if isinstance(image, StoredImage)}
        looks = {image.digest: image.look for image, _ in rated if isinstance(image, StoredImage)}
        with self.profiles.locked():
            new = {digest: data for digest, data in files.items() if not self._file(digest)}
            for digest, data in new.items():
                write_whole(self.images / f"{digest}{ENDINGS['WEBP']}", data)
            if new:
                sync_folder(self.images)
            for image, _ in rated:
                if isinstance(image, str):
                    looks[image] = self._look(image)
            return self._append(
                [Rating(image if isinstance(image, str) else image.digest, liked, prompt) for image, liked in rated],
                looks,
            )

    def _append(self, wanted: Sequence[Rating], looks: dict[str, str]) -> list[Rating]:
        standing = self.log.refresh().standing
        # Never before what is there: a clock that was set back would otherwise turn the order of ratings.
        now = max([time.time(), *(ratings[-1].time for ratings in standing.values())])
        new = {}
        for rating in wanted:
            before = new.get(rating.image) or (standing.get(rating.image) or [None])[-1]
            if before is None or (before.liked, before.prompt) != (rating.liked, rating.prompt):
                new[rating.image] = rating._replace(time=now, look=looks[rating.image])
        if new:
            self.log.append(map(as_line, new.values()))
        return [self.log.rating(rating.image) for rating in wanted]

    def undo(self, image: str | None = None) -> tuple[Rating, Rating | None]:
        """Take back an image's last rating, or the profile's; again, and the one before goes. Returns what was taken
        back, and what counts for that image now. Raises NothingToUndo where there is none."""
        with self.profiles.locked():
            standing = self.log.refresh().standing
            newest = standing.get(image, []) if image else max(standing.values(), key=lambda r: r[-1].line, default=[])
            if not newest:
                raise NothingToUndoError(
                    f"There is no rating {'of this image ' if image else ''}to undo in {self.name!r}."
                )
            taken = newest[-1]
            self.log.append([{"time": round(max(time.time(), taken.time), 3), "image": taken.image, "liked": None}])
            return taken, self.rating(taken.image)

    def forget_image(self, image: str) -> None:
        """Remove an image and every rating of it, for good. Raises ProfileMissing where neither is there."""
        with self.profiles.locked():
            file = self._file(image)
            if file is None and self.rating(image) is None:
                raise ProfileNotFoundError(
                    f"The profile {self.name!r} has no image {image[:12]!r}: it may be forgotten already."
                )
            (self.images / UNFINISHED).unlink(missing_ok=True)  # what a killed writer left may be of this image
            if file is not None:
                file.unlink()  # first of all: a rating without its image is left out, an image without a rating stays
            if (self.folder / RATINGS).exists():
                self.log.leave_out(image)

    def image_path(self, image: str) -> Path:
        """Where an image lies. Raises ProfileMissing where it does not."""
        found = self._file(image)
        if found is None:
            raise ProfileNotFoundError(f"The profile {self.name!r} has no image {image[:12]!r}: rate it first.")
        return found

    def image_digests(self) -> set[str]:
        """The digests of all images that are there."""
        found = os.scandir(self.images) if self.images.is_dir() else ()
        return {entry.name.split(".")[0] for entry in found if entry.name.endswith(tuple(ENDINGS.values()))}

    def _file(self, image: str) -> Path | None:
        if not DIGEST.fullmatch(image):
            return None
        found = (self.images / f"{image}{ending}" for ending in ENDINGS.values())
        return next((path for path in found if path.is_file()), None)

    def _look(self, image: str) -> str:
        rating = self.rating(image)
        path = self.image_path(image)
        return rating.look if rating and rating.look else StoredImage.decode(path.read_bytes(), path.name).look
