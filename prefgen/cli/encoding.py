"""Encodes many users: one user embedding file for each, and an index with one row for each."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import PrefGenError
from ..profile.names import is_windows_device_name
from .histories import User
from .processes import Processes
from .resumable_output import FinishedItem, OutputSummary, ResumableOutput

if TYPE_CHECKING:
    from ..checkpoint.preference_model import PreferenceModel

COLUMNS = {"user": "string", "file": "string", "pairs": "int64", "parts": "string", "error": "string"}
INDEX_FILE = "index.jsonl"
MAX_NAME_LENGTH = 80
SUFFIX = ".safetensors"


def encode_users(
    model: PreferenceModel,
    users: Sequence[User],
    folder: Path,
    index: Path,
    processes: Processes,
    settings: Sequence[tuple[str, Any]] = (),
) -> OutputSummary | None:
    """Write every user's embedding into `folder` and one row for each into `index`, or resume an interrupted run.

    A user whose history cannot be read has a row with an `error` and no file.

    Args:
        settings: Further settings that must stay the same when a run is resumed.

    Returns:
        The summary in the main process, None in the others.

    Raises:
        CommandError: See `ResumableOutput`.
        CheckpointError: A file cannot be written, or the checkpoint has no PrefDisc.
    """
    from tqdm import tqdm

    model.require("prefdisc")
    stamps = {user.name: user.stamp() for user in users}
    all_settings = {"work": "encode", "checkpoint": model.encoder_fingerprint, "folder": str(folder), "users": stamps}
    output = ResumableOutput(index, COLUMNS, {**all_settings, **dict(settings)})
    if processes.is_main:
        output.begin()
        folder.mkdir(parents=True, exist_ok=True)
    processes.wait()
    finished = output.finished_items(processes.is_main)
    processes.wait()  # all processes must see the same finished items before anybody writes
    unfinished = processes.shard([user for user in users if user.name not in finished])
    bar = tqdm(unfinished, desc="encoding", unit="user", disable=not processes.is_main)
    with output.open_writer(processes.rank) as writer:
        for user in bar:
            writer.add([FinishedItem(user.name, [_encode_user(model, user, folder)])])
    processes.wait()
    return output.finish([user.name for user in users]) if processes.is_main else None


def embedding_file_name(user: str) -> str:
    """Return a unique file name that every system accepts: the user's name if it is simple enough."""
    simple = re.sub(r"[^a-z0-9_-]+", "_", user)[:MAX_NAME_LENGTH]
    if simple == user and simple and not is_windows_device_name(simple):
        return simple + SUFFIX
    # Capital letters get a hash as well: some systems do not distinguish Ada from ada.
    digest = hashlib.sha256(user.encode("utf-8", "surrogatepass")).hexdigest()[:10]
    return f"{simple or 'user'}-{digest}{SUFFIX}"


def _encode_user(model: PreferenceModel, user: User, folder: Path) -> dict:
    from ..embedding import encode_user, save_embedding

    row = {"user": user.name, "file": None, "pairs": None, "parts": None, "error": None}
    try:
        history = user.read()
        embedding = encode_user(model, history)
    except PrefGenError as error:
        return {**row, "error": str(error)}
    file = embedding_file_name(user.name)
    save_embedding(folder / file, embedding)
    pairs = len(history) if history.has_pairs else 0
    return {**row, "file": file, "pairs": pairs, "parts": " ".join(embedding.vectors)}
