"""Images that were shown and may be rated later: in ComfyUI's temporary folder, named by their digests."""

from __future__ import annotations

import os
from pathlib import Path

import folder_paths

from ...prefgen.errors import ImageError, ProfileError, ProfileNotFoundError
from ...prefgen.profile import StoredImage
from ...prefgen.profile.images import DIGEST, MOST_BYTES

SUBFOLDER = "prefgen"


class OutsideFolderError(ProfileError):
    """A name that leads out of ComfyUI's folders."""


def folder() -> Path:
    """Where they lie. ComfyUI empties its temporary folder at every start."""
    return Path(folder_paths.get_temp_directory()) / SUBFOLDER


def show(picture: StoredImage) -> dict[str, str]:
    """Write an image where the browser can see it; returns how ComfyUI names it."""
    path = folder() / f"{picture.digest}.png"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}")
        picture.pixels.save(part, "PNG", compress_level=1)
        os.replace(part, path)
    return {"filename": path.name, "subfolder": SUBFOLDER, "type": "temp"}


def shown(digest: str) -> StoredImage | None:
    """The image of a digest, if it was shown since ComfyUI started."""
    path = folder() / f"{digest}.png"
    if not DIGEST.fullmatch(digest) or not path.is_file():
        return None
    return StoredImage.decode(path.read_bytes(), path.name)


def forget(digest: str) -> None:
    """Remove an image that was shown."""
    if DIGEST.fullmatch(digest):
        (folder() / f"{digest}.png").unlink(missing_ok=True)


def saved(filename: str, subfolder: str, kind: str) -> StoredImage:
    """An image that ComfyUI names by filename, subfolder and type (output, input or temp), as in a node's `ui`.

    Raises ImageError where it is none, Outside where the name leads out of that folder, ProfileMissing where nowhere.
    """
    base = folder_paths.get_directory_by_type(kind)
    if base is None:
        raise ProfileNotFoundError(f"{kind[:40]!r} is none of output, input, temp: name one of these.")
    root = Path(base).resolve()
    try:
        path = (root / subfolder / filename).resolve()
    except ValueError as error:  # a NUL in the name
        raise OutsideFolderError(f"{filename[:100]!r} is no file name.") from error
    if not path.is_relative_to(root):
        raise OutsideFolderError(f"{subfolder[:100]!r}, {filename[:100]!r} lies outside the {kind} folder.")
    if not path.is_file():
        raise ProfileNotFoundError(f"There is no {filename[:100]!r} in the {kind} folder.")
    if path.stat().st_size > MOST_BYTES:
        raise ImageError(f"{filename[:100]!r} is larger than {MOST_BYTES:,} bytes: save it smaller.")
    return StoredImage.decode(path.read_bytes(), path.name)
