"""Profiles for tests: small pictures, each another colour, rated."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from PIL import Image

from prefgen.profile import Profile, StoredImage

DAY = 24 * 3600.0


def stored_image(number: int, size: tuple[int, int] = (12, 8)) -> StoredImage:
    """Return an image that no other number has."""
    return StoredImage(Image.new("RGB", size, (number % 256, number // 256, 77)))


def digest(number: int) -> str:
    """A digest of nothing in particular."""
    return hashlib.sha256(str(number).encode()).hexdigest()


def lines(profile: Profile) -> list[dict]:
    """What the file says, its own first line left out."""
    return [json.loads(line) for line in ratings_file(profile).read_text().splitlines()[1:]]


def ratings_file(profile: Profile) -> Path:
    return profile.folder / "ratings.jsonl"
