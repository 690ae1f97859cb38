"""A profile as one .zip, to keep, move or share. What comes back in is trusted in nothing.

The archive holds `ratings.jsonl`, the ratings that count (nothing that was undone), and `images/<digest>.webp|png`.
Files are read by name out of the archive and never unpacked to where it says.
"""

from __future__ import annotations

import json
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

from ..errors import ImageError, ProfileError, ProfileUnavailableError
from .images import DIGEST, MOST_BYTES, kept_ending
from .ratings import (
    Rating,
    RatingLog,
    as_line,
    header,
    make_folder,
    sync_folder,
)
from .store import IMAGES, RATINGS, STAGING, Profile, Profiles

MEMBER = re.compile(rf"{IMAGES}/({DIGEST.pattern})\.(webp|png)")
MOST_RATINGS = 64 * 2**20
"""Bytes of ratings.jsonl that are taken: about 200,000 ratings (default ours)."""

MOST_TOTAL = 8 * 2**30
"""Bytes that an archive may unpack to (default ours)."""

MOST_SQUEEZE = 64
"""How many times its size in the archive ratings.jsonl may unpack to; images do not get smaller (default ours)."""

Progress = Callable[[int, int], object]
"""Called with images done and images in all."""


@dataclass(frozen=True)
class Imported:
    """What an import did: ratings that are new, ratings that were there already or newer, images that are new."""

    ratings: int
    known: int
    images: int


def export_profile(profile: Profile, file: BinaryIO, progress: Progress | None = None) -> int:
    """Write the archive to an open file and return how many ratings it holds. Ratings whose image is gone are left out.
    Raises ProfileError where there are none, or an image cannot be read."""
    ratings = profile.ratings
    written = []
    try:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            kept = profile.image_digests()
            for done, rating in enumerate(ratings):
                if rating.image in kept:
                    path = profile.image_path(rating.image)
                    archive.write(path, f"{IMAGES}/{path.name}")
                    written.append(rating)
                if progress:
                    progress(done + 1, len(ratings))
            lines = "".join(json.dumps(as_line(rating)) + "\n" for rating in written)
            archive.writestr(RATINGS, header() + lines.encode(), zipfile.ZIP_DEFLATED)
    except OSError as error:
        raise ProfileUnavailableError(
            f"{profile.name!r} could not be exported ({error.strerror}): try again."
        ) from error
    if not written:
        raise ProfileError(f"There is nothing to export in the profile {profile.name!r}: rate an image first.")
    return len(written)


def import_profile(profiles: Profiles, name: str, file: BinaryIO, progress: Progress | None = None) -> Imported:
    """Add an archive's ratings to the profile of this name, made where it is not there. Of an image that both rate the
    newer rating counts. All of the archive is checked before anything of it is kept.

    Raises ProfileError: no zip, another file in it than a profile has, one twice, encrypted or larger than allowed, a
    rating without its image; ImageError for an image that is none, or is not what its name says.
    """
    profile = profiles.profile(name)
    profiles.root.mkdir(parents=True, exist_ok=True)
    staging = profiles.root / f"{STAGING}{secrets.token_hex(8)}"
    try:
        staging.mkdir()
        with zipfile.ZipFile(file) as archive:
            images = _members(archive)
            ratings = _ratings(archive, staging)
            _require_images(ratings, images)
            looks = {}
            for done, rating in enumerate(ratings):
                data = _read(archive, images[rating.image], MOST_BYTES)
                ending, looks[rating.image] = kept_ending(data, rating.image, images[rating.image].filename)
                _keep(staging / f"{rating.image}{ending}", data)
                if progress:
                    progress(done + 1, len(ratings))
        return _merge(profile, [rating._replace(look=looks[rating.image]) for rating in ratings], staging)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, ValueError) as error:
        if isinstance(error, ProfileError | ImageError):
            raise
        raise ProfileError(f"The file is no .zip that can be read ({error}): export the profile again.") from error
    except OSError as error:
        raise ProfileUnavailableError(
            f"The profile could not be written ({error.strerror}): make room, or free it."
        ) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The images by digest. Raises ProfileError for any member that a profile does not have."""
    images: dict[str, zipfile.ZipInfo] = {}
    names = set()
    for member in archive.infolist():
        found = MEMBER.fullmatch(member.filename)
        digest = found and found[1]
        if not (digest or member.filename in (RATINGS, f"{IMAGES}/")) or digest in images or member.filename in names:
            raise ProfileError(
                f"The archive holds {member.filename[:100]!r}, which no profile has (or has twice), expected "
                f"{RATINGS} and {IMAGES}/<digest>.webp: import a file that PrefGen exported."
            )
        if member.flag_bits & 0x1 or member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ProfileError(
                "The archive is encrypted or packed in an unusual way: import a file that PrefGen exported."
            )
        names.add(member.filename)
        if digest:
            images[digest] = member
    total = sum(member.file_size for member in archive.infolist())
    if total > MOST_TOTAL:
        raise ProfileError(f"The archive unpacks to {total:,} bytes, expected at most {MOST_TOTAL:,}: import less.")
    return images


def _ratings(archive: zipfile.ZipFile, staging: Path) -> list[Rating]:
    """The ratings that count, by the rules of a profile's own file; none may be unreadable."""
    try:
        member = archive.getinfo(RATINGS)
    except KeyError as error:
        raise ProfileError(f"The archive has no {RATINGS}: import a file that PrefGen exported.") from error
    if member.file_size > MOST_SQUEEZE * max(member.compress_size, 1):
        raise ProfileError(f"{RATINGS} unpacks to {member.file_size:,} bytes out of {member.compress_size:,}: refused.")
    data = _read(archive, member, MOST_RATINGS)
    _keep(staging / RATINGS, data if data.endswith(b"\n") else data + b"\n")
    log = RatingLog(staging / RATINGS).refresh()
    if log.skipped:
        raise ProfileError(f"{log.skipped} lines of {RATINGS} are no ratings: export the profile again.")
    (staging / RATINGS).unlink()
    return log.ratings


def _require_images(ratings: list[Rating], images: dict[str, zipfile.ZipInfo]) -> None:
    missing = [rating.image for rating in ratings if rating.image not in images]
    extra = len(images.keys() - {rating.image for rating in ratings})
    if missing or extra or not ratings:
        raise ProfileError(
            f"The archive has {len(ratings)} ratings, {len(missing)} of them without their image, and {extra} images "
            "without a rating, expected an image for each: export the profile again."
        )


def _read(archive: zipfile.ZipFile, member: zipfile.ZipInfo, most: int) -> bytes:
    """A member's bytes; what it says of its own size is not believed."""
    with archive.open(member) as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise ProfileError(f"{member.filename} is larger than {most:,} bytes: refused.")
    return data


def _keep(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _merge(profile: Profile, ratings: list[Rating], staging: Path) -> Imported:
    """Images first, then all lines in one go: a kill in between leaves images that nobody has rated, and no more."""
    with profile.profiles.locked():
        standing = profile.log.refresh()
        new = []
        for rating in (rating._replace(time=min(rating.time, time.time())) for rating in ratings):
            ours = standing.rating(rating.image)
            if ours is None or (rating.time > ours.time and (rating.liked, rating.prompt) != (ours.liked, ours.prompt)):
                new.append(rating)
        make_folder(profile.images)
        kept, images = profile.image_digests(), 0
        for path in staging.iterdir():
            if path.stem not in kept:
                os.replace(path, profile.images / path.name)
                images += 1
        sync_folder(profile.images)
        if new:
            profile.log.append(map(as_line, new))
        return Imported(len(new), len(ratings) - len(new), images)
