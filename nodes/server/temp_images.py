"""Stores images in ComfyUI's temporary folder under their digests, so that they can be rated later."""

from __future__ import annotations

import os
from pathlib import Path

import folder_paths

from ...prefgen.errors import ProfileError, ProfileNotFoundError
from ...prefgen.profile import StoredImage
from ...prefgen.profile.images import DIGEST

SUBFOLDER = "prefgen"
TYPES = ("output", "input", "temp")


class OutsideFolderError(ProfileError):
    """A file name that leaves ComfyUI's folders."""


def temp_folder() -> Path:
    """Return the folder of the images. ComfyUI empties its temporary folder at every start."""
    return Path(folder_paths.get_temp_directory()) / SUBFOLDER


def save_temp(image: StoredImage) -> dict[str, str]:
    """Write an image to where the browser can load it, and return its filename, subfolder and type."""
    path = temp_folder() / f"{image.digest}.png"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}")
        image.image.save(part, "PNG", compress_level=1)
        os.replace(part, path)
    return {"filename": path.name, "subfolder": SUBFOLDER, "type": "temp"}


def load_temp(digest: str) -> StoredImage | None:
    """Return an image that was saved since ComfyUI started, or None."""
    path = temp_folder() / f"{digest}.png"
    if not DIGEST.fullmatch(digest) or not path.is_file():
        return None
    return StoredImage.read(path)


def delete_temp(digest: str) -> None:
    """Delete an image that was saved."""
    if DIGEST.fullmatch(digest):
        (temp_folder() / f"{digest}.png").unlink(missing_ok=True)


def load_comfyui_image(filename: str, subfolder: str, folder_type: str) -> StoredImage:
    """Load an image by the names that ComfyUI gives in a node's `ui` output.

    Args:
        folder_type: One of `TYPES`.

    Raises:
        OutsideFolderError: The name leaves the folder.
        ProfileNotFoundError: There is no such folder or file.
        ImageError: The file cannot be decoded, or is too large.
    """
    base = folder_paths.get_directory_by_type(folder_type)
    if base is None:
        raise ProfileNotFoundError(f"'type' is {folder_type[:40]!r}; expected one of {', '.join(TYPES)}.")
    root = Path(base).resolve()
    try:
        path = (root / subfolder / filename).resolve()
        inside = path.is_relative_to(root)
    except ValueError:  # a NUL character
        inside = False
    if not inside:
        raise OutsideFolderError(f"{'/'.join((subfolder, filename))!r:.200} is outside the {folder_type} folder.")
    if not path.is_file():
        raise ProfileNotFoundError(f"There is no {filename[:100]!r} in the {folder_type} folder.")
    return StoredImage.read(path)
