"""Stores shown images in ComfyUI's temporary folder, so that they can be rated later.

Each profile has its own folder, which is deleted with the profile. Each file is named after the image's digest.
ComfyUI empties its temporary folder at every start.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import folder_paths

from ...prefgen.errors import ProfileError, ProfileNotFoundError
from ...prefgen.profile import Profile, StoredImage
from ...prefgen.profile.images import DIGEST

SUBFOLDER = "prefgen"
TYPES = ("output", "input", "temp")


class OutsideFolderError(ProfileError):
    """A file name that points outside ComfyUI's folders."""


def temp_subfolder(profile: Profile) -> str:
    """Return the folder of a profile's images within ComfyUI's temporary folder."""
    return f"{SUBFOLDER}/{hashlib.sha256(str(profile.folder).encode()).hexdigest()[:16]}"


def temp_path(profile: Profile, digest: str) -> Path:
    """Return the path of an image's file."""
    return Path(folder_paths.get_temp_directory()) / temp_subfolder(profile) / f"{digest}.png"


def save_temp(profile: Profile, image: StoredImage) -> dict[str, str]:
    """Save an image where the browser can load it, and return its filename, subfolder and type."""
    path = temp_path(profile, image.digest)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}")
        image.image.save(part, "PNG", compress_level=1)
        os.replace(part, path)
    return {"filename": path.name, "subfolder": temp_subfolder(profile), "type": "temp"}


def load_temp(profile: Profile, digest: str) -> StoredImage | None:
    """Return an image that was shown since ComfyUI started, or None.

    The image may have been shown for another profile: a person can rename the profile after the images were painted.
    """
    if not DIGEST.fullmatch(digest):
        return None
    own = temp_path(profile, digest)
    path = next((path for path in (own, *own.parents[1].glob(f"*/{own.name}")) if path.is_file()), None)
    return path and StoredImage.read(path)


def delete_temp(profile: Profile, digest: str) -> None:
    """Delete a saved image."""
    if DIGEST.fullmatch(digest):
        temp_path(profile, digest).unlink(missing_ok=True)


def delete_all_temp(profile: Profile) -> None:
    """Delete all images that were saved for a profile, rated or not."""
    shutil.rmtree(temp_path(profile, "").parent, ignore_errors=True)


def load_comfyui_image(filename: str, subfolder: str, folder_type: str) -> StoredImage:
    """Load an image by its filename, subfolder and type in a node's `ui` output.

    Args:
        folder_type: One of `TYPES`.

    Raises:
        OutsideFolderError: The path points outside the folder.
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
