"""Finds base models in the Hugging Face cache, and downloads them if the user allows it."""

from __future__ import annotations

import inspect
import logging
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import CheckpointError
from ...validation import errors_as

if TYPE_CHECKING:
    from .huggingface import Progress

FILES = ["config.json", "tokenizer.json", "*.safetensors", "*.safetensors.index.json"]
"""The only files of a repository that are read or downloaded."""

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_COMMIT = re.compile(r"[0-9a-f]{40}")

log = logging.getLogger(__name__)


def cached_snapshot(base_id: str, revision: str = "") -> Path | None:
    """Return the folder of a repository in the cache, or None. Does not use the network.

    Args:
        base_id: Name of the repository.
        revision: A commit that the snapshot must have. Anything else means the main branch.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    if not _REPOSITORY.fullmatch(base_id):
        return None
    try:
        return Path(snapshot_download(base_id, revision=_commit(revision), local_files_only=True, allow_patterns=FILES))
    except (LocalEntryNotFoundError, HFValidationError, HfHubHTTPError, OSError):
        return None


def download(base_id: str, revision: str = "", progress: Progress | None = None) -> Path:
    """Download a repository's `FILES` into the cache.

    Args:
        base_id: Name of the repository.
        revision: A commit. Anything else means the main branch.
        progress: Receives the downloaded bytes and the total.

    Returns:
        The folder in the cache.

    Raises:
        CheckpointError: The id is not a repository's, the repository cannot be reached, or the disk is too full.
    """
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    if not _REPOSITORY.fullmatch(base_id):
        raise CheckpointError(f"{base_id!r} is not a model on the Hugging Face Hub. Put it into models/prefgen/base/.")
    bar = _progress_bar(progress) if progress else None
    options = {"revision": _commit(revision), "allow_patterns": FILES}
    advice = "Check the network and your access to the repository, or put the base model into models/prefgen/base/."
    # Offline mode raises LocalEntryNotFoundError, an OSError.
    with errors_as(CheckpointError, f"{base_id} could not be downloaded", advice, (HfHubHTTPError, OSError)):
        missing = 0
        if "dry_run" in inspect.signature(snapshot_download).parameters:  # huggingface_hub 1.0
            files = snapshot_download(base_id, **options, dry_run=True)
            missing = sum(file.file_size or 0 for file in files if file.will_download)
        cache = Path(constants.HF_HUB_CACHE)
        cache.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(cache).free
        if missing > free:
            sizes = f"{missing / 2**30:.1f} GiB; {cache} has {free / 2**30:.1f} GiB free"
            raise CheckpointError(f"{base_id} needs {sizes}. Free some space, or set HF_HOME to another disk.")
        log.info("PrefGen downloads %s%s.", base_id, f": {missing / 2**30:.1f} GiB" if missing else "")
        return Path(snapshot_download(base_id, **options, tqdm_class=bar))


def _commit(revision: str) -> str | None:
    return revision if _COMMIT.fullmatch(revision) else None


def _progress_bar(progress: Progress) -> type:
    """Return a silent tqdm class that reports bytes to `progress`."""
    from tqdm import tqdm

    class ProgressBar(tqdm):
        def __init__(self, *args, **kwargs) -> None:
            self._counts_bytes, self._done = kwargs.get("unit") == "B", kwargs.get("initial", 0)
            super().__init__(*args, **kwargs | {"disable": True})

        def update(self, n: float | None = 1) -> None:
            self._done += n or 0
            if self._counts_bytes and self.total:
                progress(min(int(self._done), int(self.total)), int(self.total))

    return ProgressBar
