"""Makes writers of profiles take turns, between threads and between programs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from ..errors import ProfileUnavailableError
from ..validation import errors_as

TIMEOUT = 20.0
"""Seconds to wait for another writer. A rating takes hundredths of a second, a large import a few (our choice)."""

POLL_INTERVAL = 0.002
"""Seconds between two attempts."""


@contextmanager
def write_lock(path: Path, timeout: float = TIMEOUT) -> Iterator[None]:
    """Hold the lock file at `path` while the block runs.

    The file and its folders are created where they are missing, and stay. The operating system releases the lock when
    its holder is killed. A thread must not take it twice.

    Raises:
        ProfileUnavailableError: Another writer holds the lock for longer than `timeout` seconds, or the file cannot be
            created.
    """
    with errors_as(ProfileUnavailableError, f"{path} could not be created", "Allow ComfyUI to write to its folder."):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path, mode=0o600)
        try:
            lock.acquire(timeout=timeout, poll_interval=POLL_INTERVAL)
        except Timeout as error:
            raise ProfileUnavailableError(
                f"Another program has been writing to {path.parent} for {timeout:g} seconds. Wait for it, or stop it."
            ) from error
    try:
        yield
    finally:
        lock.release()
