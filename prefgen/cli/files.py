"""Lists files below a folder and detects changed files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from ..validation import errors_as
from .errors import CommandError


def list_files(folder: Path) -> Iterator[str]:
    """Yield the files below a folder as paths relative to it, in no particular order.

    Hidden files and folders are skipped, and so are pipes, sockets and devices. Links to folders are not followed.
    Broken links are included, so that reading them reports the problem.

    Raises:
        CommandError: A folder cannot be read.
    """
    pending = [""]
    while pending:
        prefix = pending.pop()
        with (
            errors_as(CommandError, f"{folder / prefix} cannot be read", "Make it readable, or move it elsewhere."),
            os.scandir(folder / prefix) as entries,
        ):
            visible = [entry for entry in entries if not entry.name.startswith(".")]
        for entry in visible:
            if entry.is_dir(follow_symlinks=False):
                pending.append(f"{prefix}{entry.name}/")
            elif _is_file(entry):
                yield f"{prefix}{entry.name}"


def file_stamp(path: Path) -> str:
    """Return a file's size and modification time, which reveal that it has changed, or "" if it does not exist."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):  # ValueError: the path contains NUL
        return ""
    return f"{status.st_size}-{status.st_mtime_ns}"


def _is_file(entry: os.DirEntry) -> bool:
    try:
        return entry.is_file() or (entry.is_symlink() and not os.path.exists(entry.path))
    except OSError:  # a link to itself
        return True
