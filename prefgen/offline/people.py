"""People and their histories: folders with `pairs.json`, profiles, sets of users, and Parquet with a row a pair."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from torch import Tensor

from ..errors import HistoryError
from ..history import PAIRS_FILE, LikedImages, PreferencePair, UserHistory
from ..images import read_image
from ..profile.store import RATINGS
from .errors import OfflineError
from .parquet import ENDING, Table, image_data

SET = "users.jsonl"
COLUMNS = ("user", "liked", "disliked")
PROMPT = "prompt"


@dataclass(frozen=True)
class Person:
    """Somebody whose history is read when it is wanted. read: raises HistoryError, ProfileError or ImageError."""

    name: str
    read: Callable[[], UserHistory | LikedImages]


def find_people(sources: Iterable[Path], most: int = 8, split: str = "") -> list[Person]:
    """The people in these places, in order.

    A place is a person's folder (`pairs.json`, or a profile's `ratings.jsonl`), a folder of such folders, a set of
    users as train.data makes them (`users.jsonl`), a .parquet file or a folder of those, with a row a pair (columns
    user, liked, disliked and, where there is one, prompt). most: pairs that are read of each, the newest (method.md
    section 1: 8). split: of a set's users those with this split. Raises OfflineError where there is nobody, or two of
    one name.
    """
    found = [person for source in sources for person in _found(Path(source), most, split)]
    names = [person.name for person in found]
    twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if twice:
        raise OfflineError(
            f"There are {names.count(twice[0])} people called {twice[0]!r}, expected names of their own."
        )
    return found


def _found(source: Path, most: int, split: str) -> list[Person]:
    if (source / SET).is_file():
        people = _of_set(source, most, split)
    elif source.suffix == ENDING and source.is_file():
        people = _of_table(source, most)
    elif source.is_dir():
        folders = [source, *sorted(path for path in source.iterdir() if path.is_dir())]
        people = [person for folder in folders for person in _of_folder(folder, most)]
        if not people and any(source.rglob(f"*{ENDING}")):
            people = _of_table(source, most)
    else:
        raise OfflineError(f"{source} is not there, expected a person's folder, or a set of people: name one.")
    if not people:
        raise OfflineError(
            f"{source} holds nobody{f' of the split {split!r}' if split else ''}, expected {PAIRS_FILE}, a profile's "
            f"{RATINGS}, {SET}, or Parquet with a row a pair: name a person's folder, or a set of people."
        )
    return people


def _of_folder(folder: Path, most: int) -> list[Person]:
    if (folder / PAIRS_FILE).is_file():
        name = _named(folder)
        return [Person(name, lambda: _newest(UserHistory.from_folder(folder), most, name))]
    if (folder / RATINGS).is_file():
        return [Person(folder.resolve().name, lambda: _profile(folder.resolve(), most))]
    return []


def _named(folder: Path) -> str:
    """The name in pairs.json, or the folder's; what is wrong with a file is said when its pairs are read."""
    try:
        return str(json.loads((folder / PAIRS_FILE).read_text(encoding="utf-8")).get("name") or folder.resolve().name)
    except (OSError, ValueError, AttributeError):
        return folder.resolve().name


def _newest(history: UserHistory, most: int, name: str) -> UserHistory:
    return UserHistory(history.pairs[-most:], name)


def _profile(folder: Path, most: int) -> UserHistory | LikedImages:
    from ..profile import Profiles, Selection, choose, read_history

    profile = Profiles(folder.parent).existing(folder.name)
    return read_history(profile, choose(profile, Selection(most=most)))


def _of_set(folder: Path, most: int, split: str) -> list[Person]:
    """Users of a set; a user with pairs in two splits has two lines there and is one person here."""
    pairs: dict[str, list[dict[str, str]]] = defaultdict(list)
    listing = folder / SET
    for number, line in enumerate(_lines(listing), 1):
        try:
            row = json.loads(line)
            if not split or row["split"] == split:
                pairs[str(row["user"])] += [dict(pair) for pair in row["pairs"]]
        except (ValueError, KeyError, TypeError) as error:
            raise OfflineError(f"{listing}, line {number} is not a user ({error!r}): make the set anew.") from error
    return [_person(name, own[-most:], folder) for name, own in pairs.items()]


def _of_table(source: Path, most: int) -> list[Person]:
    table = Table(source, COLUMNS)
    if PROMPT in _columns(source):
        table = Table(source, (*COLUMNS, PROMPT))
    places: dict[str, list[int]] = defaultdict(list)
    for place, name in enumerate(table.column(COLUMNS[0])):
        places[str(name)].append(place)

    def person(name: str, own: Sequence[int]) -> Person:
        return Person(name, lambda: _history(name, [table.row(place) for place in own], table.folder))

    return [person(name, own[-most:]) for name, own in places.items()]


def _columns(source: Path) -> list[str]:
    import pyarrow.parquet as pq

    return pq.ParquetFile(source if source.is_file() else min(source.rglob(f"*{ENDING}"))).schema_arrow.names


def _lines(path: Path) -> Iterator[str]:
    try:
        with path.open(encoding="utf-8") as file:
            yield from (line for line in file if line.strip())
    except (OSError, UnicodeDecodeError) as error:
        raise OfflineError(f"{path} could not be read ({error}): name a set of users.") from error


def _person(name: str, pairs: Sequence[dict[str, Any]], folder: Path) -> Person:
    return Person(name, lambda: _history(name, pairs, folder))


def _history(name: str, rows: Sequence[dict[str, Any]], folder: Path) -> UserHistory:
    """Rows with liked, disliked and prompt. Raises HistoryError and ImageError."""
    return UserHistory(
        tuple(
            PreferencePair(*(_image(name, row.get(side), folder) for side in COLUMNS[1:]), str(row.get(PROMPT) or ""))
            for row in rows
        ),
        name,
    )


def _image(name: str, value: Any, folder: Path) -> Tensor:
    data = image_data(value, folder)
    if data is None:
        raise HistoryError(
            f"A pair of {name!r} lacks an image, expected its bytes or its file's name: complete the set."
        )
    if isinstance(data, bytes):
        return read_image(BytesIO(data))
    if not data.resolve().is_relative_to(folder.resolve()):
        # A set that somebody shared must not read other files into an embedding.
        raise HistoryError(
            f"A pair of {name!r} names {str(value)!r}, which is outside {folder}: keep images beside it."
        )
    return read_image(data)
