"""Encoding many people: a user embedding file each, and a row that says which file is whose."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import PrefGenError
from ..history import UserHistory
from ..profile.store import is_windows_device_name
from .ledger import Done, Ledger, Tally
from .people import Person
from .processes import Processes

if TYPE_CHECKING:
    from ..checkpoint.preference_model import PreferenceModel

COLUMNS = {"user": "string", "file": "string", "pairs": "int64", "parts": "string", "error": "string"}
INDEX = "index.jsonl"
LONGEST = 80
ENDING = ".safetensors"


def encode_people(
    model: PreferenceModel,
    people: Sequence[Person],
    folder: Path,
    index: Path,
    processes: Processes,
    about: Sequence[tuple[str, Any]] = (),
) -> Tally | None:
    """Write every person's user embedding into `folder` and a row for each into `index`, or go on where a killed run
    left it; None in all processes but the main one.

    about: further settings, which must be the same where a run goes on, as the people must be by their marks. A person
    whose history cannot be read has a row with an `error` and no file. Raises OfflineError as the ledger does, and
    CheckpointError where a file cannot be written or the checkpoint has no PrefDisc.
    """
    from tqdm import tqdm

    model.require("prefdisc")
    marks = {person.name: person.mark() for person in people}
    same = {"work": "encode", "checkpoint": model.reading, "folder": str(folder), "people": marks, **dict(about)}
    ledger = Ledger(index, COLUMNS, same)
    if processes.is_main:
        ledger.begin()
        folder.mkdir(parents=True, exist_ok=True)
    processes.wait()
    done = ledger.done(shown=processes.is_main)
    processes.wait()  # nobody writes before everybody has read, so that all share out the same rest
    mine = processes.share([person for person in people if person.name not in done])
    bar = tqdm(mine, desc="encoding", unit="person", disable=not processes.is_main)
    with ledger.writing(processes.rank) as writer:
        for person in bar:
            writer.add([Done(person.name, [_encoded(model, person, folder)])])
    processes.wait()
    return ledger.finish([person.name for person in people]) if processes.is_main else None


def file_name(user: str) -> str:
    """A file's name that any system takes and no other user has: the user's own where that is plain."""
    plain = re.sub(r"[^a-z0-9_-]+", "_", user)[:LONGEST]
    if plain == user and plain and not is_windows_device_name(plain):
        return plain + ENDING
    # Capitals too: some systems take Ada and ada for one file.
    return f"{plain or 'user'}-{hashlib.sha256(user.encode('utf-8', 'surrogatepass')).hexdigest()[:10]}{ENDING}"


def _encoded(model: PreferenceModel, person: Person, folder: Path) -> dict:
    from ..embedding import extract, save_embedding

    row = {"user": person.name, "file": None, "pairs": None, "parts": None, "error": None}
    try:
        history = person.read()
        embedding = extract(model, history)
    except PrefGenError as error:
        return {**row, "error": str(error)}
    save_embedding(folder / file_name(person.name), embedding)
    pairs = len(history) if isinstance(history, UserHistory) else 0  # liked images alone are none
    return {**row, "file": file_name(person.name), "pairs": pairs, "parts": " ".join(embedding.vectors)}
