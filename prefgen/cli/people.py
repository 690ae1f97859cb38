"""People and their histories: folders with `pairs.json`, profiles, sets of users, and Parquet with a row a pair."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ..errors import HistoryError
from ..history import PAIRS_FILE, LikedImages, PreferencePair, UserHistory
from ..images import read_image
from ..profile.store import RATINGS
from .errors import OfflineError
from .files import stamp
from .parquet import (
    ENDING,
    ImageBytes,
    Table,
    image_data,
    parquet_files,
    text,
)

SET = "users.jsonl"
COLUMNS = ("user", "liked", "disliked")
PROMPT = "prompt"
AT_ONCE = 256 * 2**20
"""Bytes of histories out of Parquet that are read together."""


@dataclass(frozen=True)
class Person:
    """Somebody whose history is read when it is wanted.

    read: raises HistoryError, ProfileError, ImageError or OfflineError. mark: tells without reading images that it is
    another history: a digest of what the newest pairs say and of the sizes and times of their files.
    """

    name: str
    read: Callable[[], UserHistory | LikedImages]
    mark: Callable[[], str]


def find_people(sources: Iterable[Path], most: int = 8, split: str = "") -> list[Person]:
    """The people in these places, in order.

    A place is a person's folder (`pairs.json`, or a profile's `ratings.jsonl`), a folder of such folders, a set of
    users as train.data makes them (`users.jsonl`), a .parquet file or a folder of those, with a row a pair (columns
    user, liked, disliked and, where there is one, prompt). most: pairs that are read of each, the newest (method.md
    section 1: 8). split: of a set's users those with this split. Raises OfflineError where there is nobody, or two of
    one name.
    """
    found = [person for source in sources for person in _found(Path(source), most, split)]
    counts = Counter(person.name for person in found)
    twice = min((name for name, count in counts.items() if count > 1), default=None)
    if twice is not None:
        raise OfflineError(f"There are {counts[twice]} people called {twice!r}, expected names of their own.")
    return found


def _found(source: Path, most: int, split: str) -> list[Person]:
    if (source / SET).is_file():
        people = _of_set(source, most, split)
    elif source.suffix == ENDING and source.is_file():
        people = _of_table(source, most)
    elif source.is_dir():
        shown = (path for path in source.iterdir() if path.name[0] != ".")
        folders = [source, *sorted(path for path in shown if path.is_dir())]
        people = [person for folder in folders for person in _of_folder(folder, most)]
        if not people and parquet_files(source):
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
        return [
            Person(
                name,
                lambda: _newest(UserHistory.from_folder(folder), most, name),
                lambda: _mark(_listed(folder).get("pairs"), most, folder),
            )
        ]
    if (folder / RATINGS).is_file():
        folder = folder.resolve()
        return [Person(folder.name, lambda: _profile(folder, most), lambda: _mark_of_profile(folder, most))]
    return []


def _named(folder: Path) -> str:
    """The name in pairs.json, or the folder's."""
    return str(_listed(folder).get("name") or folder.resolve().name)


def _listed(folder: Path) -> dict[str, Any]:
    """What pairs.json says; what is wrong with it is said when the history is read."""
    try:
        found = json.loads((folder / PAIRS_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _mark(pairs: Any, most: int, folder: Path) -> str:
    newest = pairs[-most:] if isinstance(pairs, list) else []
    files = [str(pair.get(side)) for pair in newest if isinstance(pair, dict) for side in COLUMNS[1:]]
    return _digest(newest, [stamp(folder / file) for file in files])


def _mark_of_profile(folder: Path, most: int) -> str:
    return _digest(most, (folder / RATINGS).read_bytes().hex())  # which name images by their content


def _digest(*told: Any) -> str:
    return hashlib.sha256(json.dumps(told, default=str).encode()).hexdigest()[:16]


def _newest(history: UserHistory, most: int, name: str) -> UserHistory:
    return UserHistory(history.pairs[-most:], name)


def _profile(folder: Path, most: int) -> UserHistory | LikedImages:
    from ..profile import Profiles, SelectionConfig, read_history, select_history

    profile = Profiles(folder.parent).existing(folder.name)
    return read_history(profile, select_history(profile, SelectionConfig(most=most)))


def _of_set(folder: Path, most: int, split: str) -> list[Person]:
    """Users of a set; a user with pairs in two splits has two lines there and is one person here."""
    pairs: dict[str, list[dict[str, str]]] = defaultdict(list)
    listing = folder / SET
    for number, line in enumerate(_lines(listing), 1):
        try:
            row = json.loads(line)
            if not split or row["split"] == split:
                if row["user"] is None:
                    raise TypeError("it has no name")
                pairs[str(row["user"])] += [dict(pair) for pair in row["pairs"]]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise OfflineError(f"{listing}, line {number} is not a user ({error!r}): make the set anew.") from error
    return [_person(name, own[-most:], folder) for name, own in pairs.items()]


def _of_table(source: Path, most: int) -> list[Person]:
    table = Table(source, COLUMNS, optional=(PROMPT,))
    places: dict[str, list[int]] = defaultdict(list)
    for place, user in enumerate(table.column(COLUMNS[0])):
        places[_user(user, table, place)].append(place)
    newest = {name: own[-most:] for name, own in places.items()}
    rows = _Rows(table, list(newest.values()))

    def person(number: int, name: str) -> Person:
        return Person(
            name,
            lambda: _history(name, rows.of(number), table.folder),
            lambda: _digest(newest[name], table.marks),
        )

    return [person(number, name) for number, name in enumerate(newest)]


def _user(value: Any, table: Table, place: int) -> str:
    try:
        name = text(value)
    except OfflineError as error:
        raise OfflineError(f"Row {table.keys()[place]} has as its {COLUMNS[0]} {error}: correct it.") from error
    if name is None:
        raise OfflineError(
            f"Row {table.keys()[place]} has no {COLUMNS[0]}, expected whose pair it is: complete the set, or leave "
            "such rows out."
        )
    return name


class _Rows:
    """The rows of people in a table whose people may be all mixed up: as many people's at once as fit into memory, so
    that each row group is read once for all of them. places: each person's."""

    def __init__(self, table: Table, places: Sequence[Sequence[int]]) -> None:
        self._table = table
        self._places = places
        self._kept: dict[int, list[dict[str, Any]]] = {}

    def of(self, number: int) -> list[dict[str, Any]]:
        """A person's, in order; they are given once, and read again where they are asked for again."""
        if number not in self._kept:
            self._kept = self._from(number)
        return self._kept.pop(number)

    def _from(self, first: int) -> dict[int, list[dict[str, Any]]]:
        room = AT_ONCE // max(1, self._table.row_bytes)
        wanted: list[tuple[int, int]] = []
        for number in range(first, len(self._places)):
            wanted += [(place, number) for place in self._places[number]]
            if len(wanted) >= room:
                break
        found: dict[int, list[dict[str, Any]]] = defaultdict(list)
        for place, number in sorted(wanted):
            found[number].append(self._table.row(place))
        return found


def _lines(path: Path) -> Iterator[str]:
    try:
        with path.open(encoding="utf-8") as file:
            yield from (line for line in file if line.strip())
    except (OSError, UnicodeDecodeError) as error:
        raise OfflineError(f"{path} could not be read ({error}): name a set of users.") from error


def _person(name: str, pairs: Sequence[dict[str, Any]], folder: Path) -> Person:
    return Person(name, lambda: _history(name, pairs, folder), lambda: _mark(pairs, len(pairs), folder))


def _history(name: str, rows: Sequence[dict[str, Any]], folder: Path) -> UserHistory:
    """Rows with liked, disliked and prompt. Raises HistoryError and ImageError."""
    return UserHistory(tuple(_pair(f"pair {i} of {name!r}", row, folder) for i, row in enumerate(rows, 1)), name)


def _pair(which: str, row: dict[str, Any], folder: Path) -> PreferencePair:
    try:
        data = [image_data(row.get(side), folder) for side in COLUMNS[1:]]
        prompt = text(row.get(PROMPT)) or ""
    except OfflineError as error:
        raise HistoryError(f"There is, in {which}, {error}: correct the set.") from error
    return PreferencePair(
        *(_image(which, side, one, folder) for side, one in zip(COLUMNS[1:], data, strict=True)), prompt
    )


def _image(which: str, side: str, data: bytes | Path | None, folder: Path) -> Tensor:
    if data is None:
        raise HistoryError(
            f"In {which} {side} lacks an image, expected its bytes or its file's name: complete the set."
        )
    if isinstance(data, bytes):
        return read_image(ImageBytes(data, f"{side} in {which}"))
    try:
        inside = data.resolve().is_relative_to(folder.resolve())
    except ValueError as error:
        raise HistoryError(f"In {which} {side} names {str(data)!r}, which no file is called: correct it.") from error
    if not inside:
        # A set that somebody shared must not read other files into an embedding.
        raise HistoryError(f"In {which} {side} names {str(data)!r}, which is outside {folder}: keep images beside it.")
    return read_image(data)
