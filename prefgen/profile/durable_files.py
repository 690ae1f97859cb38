"""Writes files so that they survive a crash: what has returned is on the disk, and no file is half written."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import ProfileUnavailableError
from ..validation import errors_as

UNFINISHED = ".part"
"""Name of a file until it is complete."""

FREE_SPACE = "Free some disk space, or check the access rights."


def append_synced(path: Path, data: bytes) -> None:
    """Append bytes to a file, and return when they are on the disk.

    Raises:
        ProfileUnavailableError: They could not be written. The file then stays as it was.
    """
    with errors_as(ProfileUnavailableError, f"{path} could not be written", FREE_SPACE):
        file = os.open(path, os.O_WRONLY | os.O_APPEND | getattr(os, "O_BINARY", 0))
        size = os.fstat(file).st_size
        try:
            remaining = memoryview(data)
            while remaining:
                remaining = remaining[os.write(file, remaining) :]
            getattr(os, "fdatasync", os.fsync)(file)
        except OSError:
            os.ftruncate(file, size)
            raise
        finally:
            os.close(file)


def write_synced(path: Path, data: bytes) -> None:
    """Write a file, and return when its content is on the disk."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file so that it exists completely or not at all. It is on the disk once its folder is synced.

    The caller must hold the write lock: a folder has at most one unfinished file, which the next write replaces.

    Raises:
        ProfileUnavailableError: The file could not be written.
    """
    part = path.with_name(UNFINISHED)
    with errors_as(ProfileUnavailableError, f"{path} could not be written", FREE_SPACE):
        make_folder(path.parent)
        try:
            write_synced(part, data)
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)


def make_folder(folder: Path) -> None:
    """Create a folder and its parents, and sync each new entry to the disk."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Sync the entries of a folder to the disk. Windows has no such call, and needs none."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
