"""Files below a folder: which ones are seen, and what tells that one has changed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from .errors import OfflineError


def below(folder: Path) -> Iterator[str]:
    """The regular files below a folder, by their paths relative to it, in no order.

    Hidden files and folders are passed over, links to folders are not followed, pipes, sockets and devices are no
    files. A link to nothing is given, so that somebody says it is broken. Raises OfflineError for a folder that cannot
    be read.
    """
    waiting = [""]
    while waiting:
        under = waiting.pop()
        try:
            with os.scandir(folder / under) as entries:
                shown = [entry for entry in entries if not entry.name.startswith(".")]
        except OSError as error:
            raise OfflineError(
                f"{folder / under} could not be read ({error.strerror}), and what is in it would be missing: make it "
                "readable, or move it elsewhere."
            ) from error
        for entry in shown:
            name = f"{under}{entry.name}"
            if entry.is_dir(follow_symlinks=False):
                waiting.append(f"{name}/")
            elif _is_file(entry):
                yield name


def stamp(path: Path) -> str:
    """A file's size and time of change, which tell that it is another one now; nothing where it is not there."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):  # a path with a NUL in it
        return ""
    return f"{found.st_size}-{found.st_mtime_ns}"


def _is_file(entry: os.DirEntry) -> bool:
    try:
        return entry.is_file() or (entry.is_symlink() and not os.path.exists(entry.path))
    except OSError:  # a link that leads to itself
        return True
