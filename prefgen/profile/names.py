"""Names of profiles, which are names of folders on every system."""

from __future__ import annotations

import unicodedata

MAX_NAME_LENGTH = 64
PUNCTUATION = " -_."
VALID_NAMES = "up to 64 letters, digits, spaces, '-', '_' and '.', without '.' at either end"
WINDOWS_DEVICES = {"con", "prn", "aux", "nul", *(f"{name}{i}" for name in ("com", "lpt") for i in range(10))}


def is_windows_device_name(name: str) -> bool:
    """Return whether Windows takes a file name for a device: in any case, and with any suffix."""
    return name.split(".")[0].casefold().strip() in WINDOWS_DEVICES


def normalize_name(name: str) -> str:
    """Return a name in the form in which it names a folder. Anything that is not text becomes ""."""
    return unicodedata.normalize("NFC", name.strip(" ")) if isinstance(name, str) else ""


def is_valid_name(name: str) -> bool:
    """Return whether a normalized name can name a folder on every system, below the root."""
    return (
        0 < len(name) <= MAX_NAME_LENGTH
        and all(character.isalnum() or character in PUNCTUATION for character in name)
        and not (name.startswith(".") or name.endswith(".") or is_windows_device_name(name))
    )
