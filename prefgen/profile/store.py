"""Profiles on disk: one folder per profile, with its ratings and its images.

What a method has written when it returns survives any crash afterwards.
"""

from __future__ import annotations

import os
import secrets
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

from ..errors import (
    NothingToUndoError,
    ProfileError,
    ProfileNotFoundError,
    ProfileUnavailableError,
    error_message,
)
from ..validation import errors_as, require
from .durable_files import UNFINISHED, sync_folder, write_atomic
from .images import DIGEST, SUFFIXES, StoredImage
from .lock import TIMEOUT, write_lock
from .names import VALID_NAMES, is_valid_name, normalize_name
from .ratings import MAX_PROMPT_LENGTH, Rating, RatingLog, rating_to_json

RATINGS, IMAGES, LOCK = "ratings.jsonl", "images", ".lock"
DELETED, STAGING = ".gone-", ".import-"
"""Prefixes of folders that are being deleted and imported. A profile's name never starts with a dot."""

STALE_SECONDS = 24 * 3600.0
"""Age at which an unfinished import counts as abandoned."""


class Profiles:
    """All profiles in one folder. On a server with several users, each user has such a folder.

    Args:
        root: The folder. It is created with the first rating.
        reserved_names: Names that no profile may have.
        lock_timeout: Seconds to wait for another writer.
    """

    def __init__(self, root: Path, reserved_names: Sequence[str] = (), lock_timeout: float = TIMEOUT) -> None:
        self.root = Path(root)
        self.reserved_names = frozenset(name.casefold() for name in reserved_names)
        self.lock_timeout = lock_timeout
        self._open: dict[str, Profile] = {}
        self._guard = Lock()

    def names(self) -> list[str]:
        """Return the names of the existing profiles, sorted."""
        return sorted(self._scan()[0], key=str.casefold)

    def unusable(self) -> dict[str, str]:
        """Return folders with ratings that are no profiles, for example by their names, each with the reason."""
        return self._scan()[1]

    def _scan(self) -> tuple[set[str], dict[str, str]]:
        usable, unusable = set(), {}
        # A folder that is spelled like its name comes first; others may be spelled in another Unicode normal form.
        folders = self.root.iterdir() if self.root.is_dir() else ()
        for path in sorted(folders, key=lambda path: (normalize_name(path.name) != path.name, path.name)):
            try:
                if path.name[0] == "." or not (path / RATINGS).is_file():
                    continue
                name = self._checked_name(path.name)
                require(name not in usable, ProfileError, f"Another folder is called {name!r}, too. Rename this one.")
                usable.add(name)
            except (ProfileError, OSError) as error:
                unusable[path.name] = error_message(error)
        return usable, unusable

    def _checked_name(self, name: str) -> str:
        name = normalize_name(name)
        require(is_valid_name(name), ProfileError, f"{name[:64]!r} is not a profile name; expected {VALID_NAMES}.")
        reserved = name.casefold() in self.reserved_names
        require(not reserved, ProfileError, f"{name!r} is a bundled user. Choose another name.")
        return name

    def profile(self, name: str) -> Profile:
        """Return a profile. Nothing is written before its first rating.

        Raises:
            ProfileError: The name is reserved, or no folder can have it on every system.
        """
        folder = self._find_folder(self._checked_name(name))
        name = normalize_name(folder.name)
        with self._guard:
            profile = self._open.get(name)
            if profile is None or profile.folder != folder:
                profile = Profile(self, folder)
            if profile.exists():  # otherwise requests for random names would fill the memory
                self._open[name] = profile
            return profile

    def _find_folder(self, name: str) -> Path:
        """Return the folder of a name: spelled as it is, or in another Unicode normal form.

        On file systems that ignore case, it is the existing folder in its own spelling, so that `Me` and `me` are one
        profile there.
        """
        exact = self.root / name
        folders = {folder.name: folder for folder in self.root.iterdir()} if self.root.is_dir() else {}
        if name in folders:
            return exact
        same = [folder for folder in folders.values() if normalize_name(folder.name) == name]
        if not same and exact.exists():
            same = [folder for folder in folders.values() if folder.name.casefold() == name.casefold()]
        return min(same, default=exact)

    def open_folder(self, folder: Path) -> Profile:
        """Return the profile in a folder, whatever its name, for reading."""
        return Profile(self, folder)

    def existing(self, name: str) -> Profile:
        """Return a profile that has been rated.

        Raises:
            ProfileNotFoundError: There is no such profile.
        """
        profile = self.profile(name)
        require(profile.exists(), ProfileNotFoundError, f"There is no profile {profile.name!r}. Rate an image first.")
        return profile

    def forget(self, name: str) -> None:
        """Delete a profile with its images.

        Raises:
            ProfileNotFoundError: There is no such profile.
        """
        profile = self.existing(name)
        with self.lock(), errors_as(ProfileUnavailableError, f"{profile.folder} could not be deleted", "Try again."):
            try:
                os.rename(profile.folder, self.root / f"{DELETED}{secrets.token_hex(8)}")
            except FileNotFoundError as error:
                raise ProfileNotFoundError(f"There is no profile {name!r} any more.") from error
            self._delete_leftovers()
        profile.log.refresh()

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Be the only writer in this folder while the block runs. See `write_lock`."""
        with write_lock(self.root / LOCK, self.lock_timeout):
            yield

    def _delete_leftovers(self) -> None:
        """Delete the folders of deleted profiles and of abandoned imports."""
        imports = self.root.glob(f"{STAGING}*")
        abandoned = [path for path in imports if time.time() - path.stat().st_mtime > STALE_SECONDS]
        for path in (*self.root.glob(f"{DELETED}*"), *abandoned):
            shutil.rmtree(path, ignore_errors=True)


class Profile:
    """The ratings of a person, with the rated images. Create it through `Profiles`."""

    def __init__(self, profiles: Profiles, folder: Path) -> None:
        self.profiles = profiles
        self.name = normalize_name(folder.name)
        self.folder = folder
        self.images = self.folder / IMAGES
        self.log = RatingLog(self.folder / RATINGS)

    def exists(self) -> bool:
        """Return whether the profile has ever been rated."""
        return (self.folder / RATINGS).is_file()

    @property
    def ratings(self) -> list[Rating]:
        """The ratings that count, one per image, oldest first. Callers must not change the list."""
        return self.log.refresh().ratings

    @property
    def version(self) -> str:
        """A string that changes with every change of the ratings, by any program."""
        return self.log.refresh().version

    @property
    def skipped(self) -> int:
        """Number of lines that could not be read, because of a crash or a manual edit."""
        return self.log.refresh().skipped

    def rating(self, image: str) -> Rating | None:
        """Return the rating of an image that counts, or None."""
        return self.log.refresh().rating(image)

    def rate(self, image: StoredImage | str, liked: bool, prompt: str = "") -> Rating:
        """Like or dislike an image. See `rate_all`."""
        return self.rate_all([(image, liked)], prompt)[0]

    def rate_all(self, rated: Sequence[tuple[StoredImage | str, bool]], prompt: str = "") -> list[Rating]:
        """Like or dislike images: either all of them, or none.

        A repeated rating changes nothing, so that a client without an answer can try again.

        Args:
            rated: Images, or digests of images that the profile has, each with whether it is liked.
            prompt: The prompt to store with all images.

        Raises:
            ProfileNotFoundError: The profile has no image with a digest.
            ProfileUnavailableError: The ratings could not be written.
        """
        prompt = prompt.strip()[:MAX_PROMPT_LENGTH].encode(errors="replace").decode()
        files = {image.digest: image.encode() for image, _ in rated if isinstance(image, StoredImage)}
        color_grids = {image.digest: image.color_grid for image, _ in rated if isinstance(image, StoredImage)}
        with self.profiles.lock():
            new = {digest: data for digest, data in files.items() if not self._image_file(digest)}
            for digest, data in new.items():
                write_atomic(self.images / f"{digest}{SUFFIXES['WEBP']}", data)
            if new:
                sync_folder(self.images)
            digests = [(image if isinstance(image, str) else image.digest, liked) for image, liked in rated]
            for digest, _ in digests:
                if digest not in files:
                    color_grids[digest] = self._color_grid(digest)
            return self._append([Rating(digest, liked, prompt) for digest, liked in digests], color_grids)

    def _append(self, ratings: Sequence[Rating], color_grids: dict[str, str]) -> list[Rating]:
        """Append the ratings that differ from the current ones, and return what counts afterwards."""
        ratings_by_image = self.log.refresh().ratings_by_image
        # Never earlier than existing ratings: a clock that was set back would otherwise change their order.
        now = max([time.time(), *(history[-1].time for history in ratings_by_image.values())])
        new = {}
        for rating in ratings:
            current = new.get(rating.image) or (ratings_by_image.get(rating.image) or [None])[-1]
            if current is None or (current.liked, current.prompt) != (rating.liked, rating.prompt):
                new[rating.image] = rating._replace(time=now, color_grid=color_grids[rating.image])
        if new:
            self.log.append(map(rating_to_json, new.values()))
        return [self.log.rating(rating.image) for rating in ratings]

    def undo(self, image: str | None = None, completely: bool = False) -> tuple[Rating, Rating | None]:
        """Take back the last rating of an image, or of the profile. Further calls go further back.

        Args:
            completely: Take back all ratings of that image at once.

        Returns:
            The rating that was taken back, and the one that counts for its image now.

        Raises:
            NothingToUndoError: There is no rating.
        """
        with self.profiles.lock():
            ratings_by_image = self.log.refresh().ratings_by_image
            if image:
                history = ratings_by_image.get(image, [])
            else:
                history = max(ratings_by_image.values(), key=lambda ratings: ratings[-1].line, default=[])
            require(history, NothingToUndoError, f"Profile {self.name!r} has no rating to undo.")
            undone = history[-1]
            line = {"time": round(max(time.time(), undone.time), 3), "image": undone.image, "liked": None}
            self.log.append([line] * (len(history) if completely else 1))
            return undone, self.rating(undone.image)

    def forget_image(self, image: str) -> None:
        """Delete an image and all its ratings.

        Raises:
            ProfileNotFoundError: The profile has neither.
        """
        with self.profiles.lock():
            file = self._image_file(image)
            if file is None and self.rating(image) is None:
                raise ProfileNotFoundError(f"Profile {self.name!r} has no image {image[:12]!r} any more.")
            (self.images / UNFINISHED).unlink(missing_ok=True)  # a killed writer may have left this image in it
            if file is not None:
                file.unlink()  # first, because a rating without an image is ignored, but an image stays
            if self.exists():
                self.log.remove_image(image)

    def image_path(self, image: str) -> Path:
        """Return the path of an image.

        Raises:
            ProfileNotFoundError: The profile has no such image.
        """
        path = self._image_file(image)
        require(path is not None, ProfileNotFoundError, f"Profile {self.name!r} has no image {image[:12]!r}.")
        return path

    def image_digests(self) -> set[str]:
        """Return the digests of all images in the profile."""
        entries = os.scandir(self.images) if self.images.is_dir() else ()
        return {entry.name.split(".")[0] for entry in entries if entry.name.endswith(tuple(SUFFIXES.values()))}

    def _image_file(self, image: str) -> Path | None:
        paths = (self.images / f"{image}{suffix}" for suffix in SUFFIXES.values())
        return next((path for path in paths if path.is_file()), None) if DIGEST.fullmatch(image) else None

    def _color_grid(self, image: str) -> str:
        rating, path = self.rating(image), self.image_path(image)
        return rating.color_grid if rating and rating.color_grid else StoredImage.read(path).color_grid
