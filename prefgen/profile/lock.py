"""One writer at a time: a lock between threads and programs, which the system lets go of when its holder is killed."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import ProfileUnavailableError

PATIENCE = 20.0
"""Seconds to wait for another writer. One rating takes hundredths of a second, a large import a few (default ours)."""

PAUSE = 0.002
"""Seconds between two tries: waiting in the system itself would know no end."""

if sys.platform == "win32":
    import msvcrt

    def _take(file: int) -> None:
        msvcrt.locking(file, msvcrt.LK_NBLCK, 1)

    def _give(file: int) -> None:
        os.lseek(file, 0, os.SEEK_SET)
        msvcrt.locking(file, msvcrt.LK_UNLCK, 1)
else:
    import fcntl

    def _take(file: int) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _give(file: int) -> None:
        fcntl.flock(file, fcntl.LOCK_UN)


@contextmanager
def locked(path: Path, patience: float = PATIENCE) -> Iterator[None]:
    """Hold the lock file at `path`, made where it is not there and never removed: whoever waits for a removed file
    would hold a lock that nobody else sees. Not to be taken twice by one thread.

    Raises ProfileUnwritable where another writer holds it for longer than `patience` seconds, or the file cannot be
    made.
    """
    end = time.monotonic() + patience
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise ProfileUnavailableError(
            f"{path} could not be made ({error.strerror}): let ComfyUI write to that folder."
        ) from error
    try:
        while True:
            try:
                _take(file)
                break
            except OSError as error:
                if time.monotonic() > end:
                    raise ProfileUnavailableError(
                        f"Another program has been writing to {path.parent} for {patience:g} seconds: wait until it is "
                        "done (a large import takes a while), or stop it."
                    ) from error
                time.sleep(PAUSE)
        try:
            yield
        finally:
            _give(file)
    finally:
        os.close(file)
