"""Exports a profile to one .zip, and imports such a file. Imported files are not trusted.

The archive holds `ratings.jsonl` with the ratings that count (nothing that was undone), and `images/<digest>.webp|png`.
Members are read by name, and never extracted to the paths that the archive gives.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import time
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ..errors import ProfileError, ProfileUnavailableError
from ..validation import errors_as, require
from .durable_files import FREE_SPACE, make_folder, sync_folder, write_synced
from .images import DIGEST, MAX_BYTES, verify_stored_file
from .ratings import Rating, RatingLog, encode_line, new_header, rating_to_json
from .store import IMAGES, RATINGS, STAGING, Profile, Profiles

MEMBER = re.compile(rf"{IMAGES}/({DIGEST.pattern})\.(webp|png)")
MAX_RATINGS_BYTES = 64 * 2**20
"""Maximum size of ratings.jsonl: about 200,000 ratings. The limit is our choice."""

MAX_TOTAL_BYTES = 8 * 2**30
"""Maximum total size of all members. The limit is our choice."""

MAX_COMPRESSION = 64
"""Maximum compression ratio of ratings.jsonl in the archive. Images do not compress. The limit is our choice."""

UNREADABLE = (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, ValueError)
"""Exceptions that a damaged archive can cause."""

EXPORT_AGAIN = "Export the profile again."

Progress = Callable[[int, int], object]
"""Called with the number of finished images and of all images."""


@dataclass(frozen=True)
class ImportResult:
    """Counts of an import.

    Attributes:
        ratings: Ratings that were added.
        known: Ratings that the profile had already, or had in a newer version.
        images: Images that were added.
    """

    ratings: int
    known: int
    images: int


def export_profile(profile: Profile, file: BinaryIO, progress: Progress | None = None) -> int:
    """Write a profile to an open file. Ratings whose image is missing are skipped.

    Returns:
        The number of exported ratings.

    Raises:
        ProfileError: There is nothing to export.
        ProfileUnavailableError: An image cannot be read, or the file cannot be written.
    """
    ratings = profile.ratings
    exported = []
    with (
        errors_as(ProfileUnavailableError, f"Profile {profile.name!r} could not be exported", "Try again."),
        zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive,
    ):
        stored = profile.image_digests()
        for index, rating in enumerate(ratings):
            if rating.image in stored:
                path = profile.image_path(rating.image)
                archive.write(path, f"{IMAGES}/{path.name}")
                exported.append(rating)
            if progress:
                progress(index + 1, len(ratings))
        lines = b"".join(encode_line(rating_to_json(rating)) for rating in exported)
        archive.writestr(RATINGS, new_header() + lines, zipfile.ZIP_DEFLATED)
    require(exported, ProfileError, f"Profile {profile.name!r} has nothing to export. Rate an image first.")
    return len(exported)


def import_profile(profiles: Profiles, name: str, file: BinaryIO, progress: Progress | None = None) -> ImportResult:
    """Add the ratings of an archive to a profile, which is created where it is missing.

    Where both have a rating of an image, the newer one counts. The whole archive is checked before anything is added.

    Raises:
        ProfileError: The file is not a .zip, has unexpected, duplicate, encrypted or too large members, or has a rating
            without its image.
        ImageError: An image cannot be decoded, or does not match its digest.
        ProfileUnavailableError: The profile cannot be written.
    """
    profile = profiles.profile(name)
    profiles.root.mkdir(parents=True, exist_ok=True)
    staging = profiles.root / f"{STAGING}{secrets.token_hex(8)}"
    try:
        with (
            errors_as(ProfileError, "The file is not a readable .zip", EXPORT_AGAIN, UNREADABLE),
            errors_as(ProfileUnavailableError, "The profile could not be written", FREE_SPACE),
        ):
            staging.mkdir()
            return _merge(profile, _unpack(file, staging, progress), staging)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _unpack(file: BinaryIO, staging: Path, progress: Progress | None) -> list[Rating]:
    """Check an archive, write its images into `staging`, and return its ratings."""
    with zipfile.ZipFile(file) as archive:
        images = _image_members(archive)
        ratings = _read_ratings(archive, staging)
        _require_images(ratings, images)
        complete = []
        for index, rating in enumerate(ratings):
            member = images[rating.image]
            data = _read_member(archive, member, MAX_BYTES)
            suffix, color_grid = verify_stored_file(data, rating.image, member.filename)
            write_synced(staging / f"{rating.image}{suffix}", data)
            complete.append(rating._replace(color_grid=color_grid))
            if progress:
                progress(index + 1, len(ratings))
    return complete


def _image_members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """Return the images by digest. Raises ProfileError for members that an export does not have."""
    members = archive.infolist()
    images: dict[str, zipfile.ZipInfo] = {}
    names = set()
    for member in members:
        match = MEMBER.fullmatch(member.filename)
        digest = match and match[1]
        expected = digest or member.filename in (RATINGS, f"{IMAGES}/")
        if not expected or digest in images or member.filename in names:
            raise ProfileError(f"Unexpected or duplicate file in the archive: {member.filename[:99]!r}. {EXPORT_AGAIN}")
        if member.flag_bits & 0x1 or member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ProfileError(f"The archive is encrypted, or compressed by an unsupported method. {EXPORT_AGAIN}")
        names.add(member.filename)
        if digest:
            images[digest] = member
    _require_size("The archive", sum(member.file_size for member in members), MAX_TOTAL_BYTES)
    return images


def _read_ratings(archive: zipfile.ZipFile, staging: Path) -> list[Rating]:
    """Return the ratings that count. Unlike a profile's own file, no line may be malformed."""
    require(RATINGS in archive.namelist(), ProfileError, f"The archive has no {RATINGS}. {EXPORT_AGAIN}")
    member = archive.getinfo(RATINGS)
    _require_size(RATINGS, member.file_size, MAX_COMPRESSION * max(member.compress_size, 1))
    data = _read_member(archive, member, MAX_RATINGS_BYTES)
    path = staging / RATINGS
    write_synced(path, data if data.endswith(b"\n") else data + b"\n")
    log = RatingLog(path).refresh()
    require(not log.skipped, ProfileError, f"{RATINGS} has {log.skipped} malformed lines. {EXPORT_AGAIN}")
    path.unlink()
    return log.ratings


def _require_images(ratings: list[Rating], images: dict[str, zipfile.ZipInfo]) -> None:
    if not ratings or {rating.image for rating in ratings} != images.keys():
        counts = f"{len(ratings)} ratings and {len(images)} images"
        raise ProfileError(f"The archive has {counts} that do not belong together. {EXPORT_AGAIN}")


def _require_size(name: str, size: int, limit: int) -> None:
    require(size <= limit, ProfileError, f"{name} unpacks to {size:,} bytes; expected at most {limit:,}.")


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, limit: int) -> bytes:
    """Read a member, and count its bytes: the size in the archive's directory may be wrong."""
    with archive.open(member) as file:
        data = file.read(limit + 1)
    _require_size(member.filename, len(data), limit)
    return data


def _merge(profile: Profile, ratings: list[Rating], staging: Path) -> ImportResult:
    """Move the images into the profile, then append all lines at once.

    A crash in between leaves unrated images, which do no harm.
    """
    with profile.profiles.lock():
        log = profile.log.refresh()
        now = time.time()
        new = []
        for rating in (rating._replace(time=min(rating.time, now)) for rating in ratings):
            current = log.rating(rating.image)
            changed = current is None or (rating.liked, rating.prompt) != (current.liked, current.prompt)
            if changed and (current is None or rating.time > current.time):
                new.append(rating)
        make_folder(profile.images)
        stored, added = profile.image_digests(), 0
        for path in staging.iterdir():
            if path.stem not in stored:
                os.replace(path, profile.images / path.name)
                added += 1
        sync_folder(profile.images)
        if new:
            profile.log.append(map(rating_to_json, new))
        return ImportResult(len(new), len(ratings) - len(new), added)
