"""The Hugging Face cache: base models that are in it, and, where a person allows it, their download into it."""

from __future__ import annotations

import inspect
import logging
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import CheckpointError

if TYPE_CHECKING:
    from .huggingface import Progress

FILES = ["config.json", "tokenizer.json", "*.safetensors", "*.safetensors.index.json"]
"""All that is read of a repository, and all that is downloaded."""

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_COMMIT = re.compile(r"[0-9a-f]{40}")

log = logging.getLogger(__name__)


def cached(base_id: str, revision: str = "") -> Path | None:
    """The folder of a repository in the cache, None where it is not there. Asks no network.

    revision: a commit, which alone will do then; anything else stands for the main branch.
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
    """Download what is read of a repository into the cache, and return its folder there.

    progress: called with bytes here and bytes in all. Raises CheckpointError where the id is no repository's, the
    network or the repository cannot be reached, or the disk is too full.
    """
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    if not _REPOSITORY.fullmatch(base_id):
        raise CheckpointError(
            f"{base_id!r} is no model on the Hugging Face Hub (owner/name): put that model into models/prefgen/base/."
        )
    commit = _commit(revision)
    try:
        missing = 0
        if "dry_run" in inspect.signature(snapshot_download).parameters:  # huggingface_hub has it from 1.0 on
            files = snapshot_download(base_id, revision=commit, allow_patterns=FILES, dry_run=True)
            missing = sum(file.file_size or 0 for file in files if file.will_download)
        cache = Path(constants.HF_HUB_CACHE)
        cache.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(cache).free
        if missing > free:
            raise CheckpointError(
                f"{base_id} is {missing / 2**30:.1f} GiB to download and {cache} has {free / 2**30:.1f} GiB free: make "
                "room there, or set HF_HOME to a folder on another disk."
            )
        log.info("PrefGen downloads %s%s.", base_id, f": {missing / 2**30:.1f} GiB" if missing else "")
        return Path(
            snapshot_download(
                base_id, revision=commit, allow_patterns=FILES, tqdm_class=_reporting(progress) if progress else None
            )
        )
    except (HfHubHTTPError, OSError) as error:
        # LocalEntryNotFoundError, offline mode's and a network's without answer, is an OSError.
        detail = " ".join(str(error).split()[:30])
        raise CheckpointError(
            f"{base_id} could not be downloaded ({detail}): check the network, and that the repository is there and "
            "open to you, or put the base model into models/prefgen/base/."
        ) from error


def _commit(revision: str) -> str | None:
    return revision if _COMMIT.fullmatch(revision) else None


def _reporting(progress: Progress) -> type:
    """A silent tqdm that tells `progress` of bytes."""
    from tqdm import tqdm

    class Reporting(tqdm):
        def __init__(self, *args, **kwargs) -> None:
            self._bytes, self._done = kwargs.get("unit") == "B", kwargs.get("initial", 0)
            super().__init__(*args, **kwargs | {"disable": True})

        def update(self, n: float | None = 1) -> None:
            self._done += n or 0
            if self._bytes and self.total:
                progress(min(int(self._done), int(self.total)), int(self.total))

    return Reporting
