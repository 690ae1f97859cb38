"""Finds users and their histories: folders with `pairs.json`, profiles, sets of users, and Parquet tables of pairs."""

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
from ..history import PAIRS_FILE, History, PreferencePair, UserHistory
from ..images import read_image
from ..profile.store import RATINGS
from ..validation import errors_as, require
from .errors import CommandError
from .files import file_stamp
from .parquet import SUFFIX, ImageBytes, ParquetTable, cell_image, cell_text, parquet_files

USERS_FILE = "users.jsonl"
COLUMNS = ("user", "liked", "disliked")
PROMPT = "prompt"
MAX_CACHED_BYTES = 256 * 2**20
"""Size of the histories that are read from Parquet together."""


@dataclass(frozen=True)
class User:
    """A user whose history is read on demand.

    Attributes:
        name: Unique name.
        read: Reads the history. Raises HistoryError, ProfileError, ImageError or CommandError.
        stamp: Returns a digest of the newest pairs and of the sizes and times of their files, without reading images.
            It reveals that a history has changed.
    """

    name: str
    read: Callable[[], History]
    stamp: Callable[[], str]


def find_users(sources: Iterable[Path], max_pairs: int = 8, split: str = "") -> list[User]:
    """Find the users in some places, in order.

    Args:
        sources: Each is a user's folder (with `pairs.json`, or a profile with `ratings.jsonl`), a folder of such
            folders, a set of users created by `train.data` (`users.jsonl`), or Parquet: a file or a folder of files
            with one row for each pair (columns user, liked, disliked and optionally prompt).
        max_pairs: Maximum number of pairs of each user, newest first. The papers use 8 (arXiv 2508.08220).
        split: Split of a set of users, for example "test"; "" means all.

    Raises:
        CommandError: A place contains no user, or two users have the same name.
    """
    users = [user for source in sources for user in _users_in(Path(source), max_pairs, split)]
    counts = Counter(user.name for user in users)
    duplicate = min((name for name, count in counts.items() if count > 1), default=None)
    if duplicate is not None:
        raise CommandError(f"{counts[duplicate]} users are called {duplicate!r}; expected unique names.")
    return users


def _users_in(source: Path, max_pairs: int, split: str) -> list[User]:
    users: list[User] = []
    if (source / USERS_FILE).is_file():
        users = _users_in_set(source, max_pairs, split)
    elif source.suffix == SUFFIX and source.is_file():
        users = _users_in_table(source, max_pairs)
    elif source.is_dir():
        visible = (path for path in source.iterdir() if path.name[0] != ".")
        folders = [source, *sorted(path for path in visible if path.is_dir())]
        users = [user for folder in folders for user in _user_in_folder(folder, max_pairs)]
        if not users and parquet_files(source):
            users = _users_in_table(source, max_pairs)
    if not users:
        problem = f"contains no user{split and f' in the split {split!r}'}" if source.exists() else "does not exist"
        raise CommandError(f"{source} {problem}; expected {PAIRS_FILE}, {RATINGS}, {USERS_FILE} or Parquet.")
    return users


def _user_in_folder(folder: Path, max_pairs: int) -> list[User]:
    if (folder / PAIRS_FILE).is_file():
        name = str(_read_pairs_file(folder).get("name") or folder.resolve().name)

        def read_newest() -> UserHistory:
            return UserHistory(UserHistory.from_folder(folder).pairs[-max_pairs:], name)

        return [User(name, read_newest, lambda: _pairs_stamp(_read_pairs_file(folder).get("pairs"), max_pairs, folder))]
    if (folder / RATINGS).is_file():
        folder = folder.resolve()
        return [User(folder.name, lambda: _read_profile(folder, max_pairs), lambda: _profile_stamp(folder, max_pairs))]
    return []


def _read_pairs_file(folder: Path) -> dict[str, Any]:
    """Return the contents of pairs.json, or {} if it is invalid, which is reported when the history is read."""
    try:
        contents = json.loads((folder / PAIRS_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return contents if isinstance(contents, dict) else {}


def _pairs_stamp(pairs: Any, max_pairs: int, folder: Path) -> str:
    newest = pairs[-max_pairs:] if isinstance(pairs, list) else []
    files = [str(pair.get(side)) for pair in newest if isinstance(pair, dict) for side in COLUMNS[1:]]
    return _digest(newest, [file_stamp(folder / file) for file in files])


def _profile_stamp(folder: Path, max_pairs: int) -> str:
    return _digest(max_pairs, (folder / RATINGS).read_bytes().hex())  # ratings name images by their digests


def _digest(*values: Any) -> str:
    return hashlib.sha256(json.dumps(values, default=str).encode()).hexdigest()[:16]


def _read_profile(folder: Path, max_pairs: int) -> History:
    from ..profile import Profiles, SelectionConfig, read_history, select_history

    profile = Profiles(folder.parent).open_folder(folder)
    return read_history(profile, select_history(profile, SelectionConfig(max_pairs)))


def _users_in_set(folder: Path, max_pairs: int, split: str) -> list[User]:
    """Return the users of a set. A user with pairs in two splits has two lines there, and becomes one user here."""
    pairs: dict[str, list[dict[str, str]]] = defaultdict(list)
    users_file = folder / USERS_FILE
    for number, line in enumerate(_read_lines(users_file), 1):
        invalid = (ValueError, KeyError, TypeError, RecursionError)
        with errors_as(CommandError, f"{users_file}, line {number}, is not a user", "Create the set again.", invalid):
            row = json.loads(line)
            if not split or row["split"] == split:
                if row["user"] is None:
                    raise TypeError("it has no name")
                pairs[str(row["user"])] += [dict(pair) for pair in row["pairs"]]
    return [_user_with_pairs(name, user_pairs[-max_pairs:], folder) for name, user_pairs in pairs.items()]


def _user_with_pairs(name: str, pairs: Sequence[dict[str, Any]], folder: Path) -> User:
    return User(name, lambda: _read_history(name, pairs, folder), lambda: _pairs_stamp(pairs, len(pairs), folder))


def _users_in_table(source: Path, max_pairs: int) -> list[User]:
    table = ParquetTable(source, COLUMNS, optional=(PROMPT,))
    rows_of: dict[str, list[int]] = defaultdict(list)
    for index, value in enumerate(table.column(COLUMNS[0])):
        rows_of[_user_name(value, table, index)].append(index)
    newest = {name: rows[-max_pairs:] for name, rows in rows_of.items()}
    reader = _GroupedRows(table, list(newest.values()))

    def user(number: int, name: str) -> User:
        return User(
            name,
            lambda: _read_history(name, reader.rows(number), table.folder),
            lambda: _digest(newest[name], table.stamps),
        )

    return [user(number, name) for number, name in enumerate(newest)]


def _user_name(value: Any, table: ParquetTable, index: int) -> str:
    try:
        name = cell_text(value)
    except CommandError as error:
        row = f"Row {table.keys()[index]}"
        raise CommandError(f"{row} has an invalid {COLUMNS[0]}: {error} Correct the table.") from error
    if name is None:
        raise CommandError(f"Row {table.keys()[index]} has no {COLUMNS[0]}. Complete the table, or remove such rows.")
    return name


class _GroupedRows:
    """Reads the rows of users in a table that may mix all users.

    It reads the rows of as many users together as fit into memory, so that it reads each row group once for all of
    them.

    Args:
        row_indices: Row indices of each user.
    """

    def __init__(self, table: ParquetTable, row_indices: Sequence[Sequence[int]]) -> None:
        self._table = table
        self._row_indices = row_indices
        self._cache: dict[int, list[dict[str, Any]]] = {}

    def rows(self, number: int) -> list[dict[str, Any]]:
        """Return the rows of a user in order. Rows leave the cache and are read again when they are needed again."""
        if number not in self._cache:
            self._cache = self._read_from(number)
        return self._cache.pop(number)

    def _read_from(self, first: int) -> dict[int, list[dict[str, Any]]]:
        max_rows = MAX_CACHED_BYTES // max(1, self._table.row_bytes)
        wanted: list[tuple[int, int]] = []
        for number in range(first, len(self._row_indices)):
            wanted += [(index, number) for index in self._row_indices[number]]
            if len(wanted) >= max_rows:
                break
        rows: dict[int, list[dict[str, Any]]] = defaultdict(list)
        for index, number in sorted(wanted):
            rows[number].append(self._table.row(index))
        return rows


def _read_lines(path: Path) -> Iterator[str]:
    unreadable, advice = (OSError, UnicodeDecodeError), "Choose a set of users."
    with (
        errors_as(CommandError, f"{path} cannot be read", advice, unreadable),
        path.open(encoding="utf-8") as file,
    ):
        yield from (line for line in file if line.strip())


def _read_history(name: str, rows: Sequence[dict[str, Any]], folder: Path) -> UserHistory:
    return UserHistory(tuple(_read_pair(f"pair {i} of {name!r}", row, folder) for i, row in enumerate(rows, 1)), name)


def _read_pair(label: str, row: dict[str, Any], folder: Path) -> PreferencePair:
    try:
        liked, disliked = (cell_image(row.get(side), folder) for side in COLUMNS[1:])
        prompt = cell_text(row.get(PROMPT)) or ""
    except CommandError as error:
        raise HistoryError(f"In {label} there is {error} Correct the set.") from error
    return PreferencePair(
        _read_pair_image(f"liked in {label}", liked, folder),
        _read_pair_image(f"disliked in {label}", disliked, folder),
        prompt,
    )


def _read_pair_image(label: str, data: bytes | Path | None, folder: Path) -> Tensor:
    if isinstance(data, bytes):
        return read_image(ImageBytes(data, label))
    require(data is not None, HistoryError, f"The image {label} is missing; expected bytes or a file name.")
    try:
        inside = data.resolve().is_relative_to(folder.resolve())
    except ValueError:  # the name contains NUL
        inside = False
    if not inside:  # a shared set must not read other files into an embedding
        raise HistoryError(f"The image {label} is {str(data)!r}; expected a file in {folder}.")
    return read_image(data)
