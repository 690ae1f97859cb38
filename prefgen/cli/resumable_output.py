"""Records finished rows on disk, so that an interrupted run resumes without losing or repeating any.

While a run is in progress, the folder OUT.parts lies beside the output OUT. `settings.json` says what is computed.
Every process of every run appends to a file of its own, one line for each finished item with its rows and its stamp.
When all items are finished, their rows are written to OUT in the order of the items, and the folder is removed.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ..validation import require
from .errors import CommandError
from .row_files import (
    SUFFIXES,
    Row,
    json_line,
    reporting_write_errors,
    require_pyarrow,
    write_rows,
)
from .run_settings import SETTINGS_FILE, require_same_settings, temporary_file, write_settings

MERGE_FOLDERS = "If machines wrote to separate folders, copy all their files into this one first."


class FinishedItem(NamedTuple):
    """The rows of a finished item. `stamp` reveals a changed item, such as the size and time of its file, or is ""."""

    item: str
    rows: Sequence[Row]
    stamp: str = ""


@dataclass(frozen=True)
class OutputSummary:
    """Number of items (images or users), of rows, and of items with an error."""

    items: int
    rows: int
    errors: int


class ResumableOutput:
    """An output that is written once all of its items are finished.

    Args:
        out: Path of the output, ending in .jsonl or .parquet.
        columns: Name of each value in a row, with its Parquet type ("string", "double" or "int64").
        settings: JSON values that describe the work. A run is resumed only with the same settings.

    Raises:
        CommandError: See `check_output`.
    """

    def __init__(self, out: Path, columns: Mapping[str, str], settings: Mapping[str, Any]) -> None:
        check_output(out)
        self.out = out
        self.columns = dict(columns)
        self.settings = json.loads(json.dumps(settings))
        self.folder = _parts_folder(out)

    def begin(self) -> None:
        """Create the folder, or check that it belongs to the same work. Call this in one process only.

        Raises:
            CommandError: The folder belongs to other work.
        """
        with self._explaining_removal(), reporting_write_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            if not (self.folder / SETTINGS_FILE).exists():
                write_settings(self.folder, self.settings)
            require_same_settings(self.folder, self.settings)

    def finished_items(self, show_progress: bool = False, stamp: Callable[[str], str] | None = None) -> set[str]:
        """Return the finished items.

        Args:
            show_progress: Whether to show a progress bar if this takes long.
            stamp: Returns the current stamp of an item, or "" if it does not exist.

        Raises:
            CommandError: An item has changed since it was finished.
        """
        items = set()
        with self._explaining_removal():
            for item, old, _, _ in _with_progress(self._lines(), "finding finished items", None, show_progress):
                new = stamp(item) if stamp and old else ""
                if new and new != old:
                    raise CommandError(f"{item!r} has changed. Restore it, or remove {self.folder} to start again.")
                items.add(item)
        return items

    @contextmanager
    def open_writer(self, rank: int) -> Iterator[Writer]:
        """Open a new file of this process. Incomplete lines of an interrupted run stay in its own file."""
        name = f"{rank:05d}-{secrets.token_hex(8)}.jsonl"
        with self._explaining_removal():
            file = (self.folder / name).open("wb")
        try:
            yield Writer(file, self.folder)
        finally:
            with reporting_write_errors(self.folder):  # closing writes what could not be written before
                file.close()

    def finish(self, items: Sequence[str]) -> OutputSummary:
        """Write the rows of all items to the output in their order, and remove the folder.

        Call this in one process only, after all processes have finished.

        Raises:
            CommandError: Items are missing.
        """
        index_of = {item: index for index, item in enumerate(items)}
        places: dict[int, tuple[Path, int]] = {}
        with self._explaining_removal():
            for item, _, file, offset in _with_progress(self._lines(), "finding finished items", None):
                if item in index_of:
                    places.setdefault(index_of[item], (file, offset))  # concurrent runs may have finished it twice
            require(not self.out.exists(), CommandError, self._finished_elsewhere())
            if len(places) < len(items):
                missing = next(item for item, index in index_of.items() if index not in places)
                count = f"{len(places):,} of {len(items):,} items (not {missing!r})"
                raise CommandError(f"{self.folder} has {count}. Run the same command again. {MERGE_FOLDERS}")
            return self._write_output([places[index] for index in range(len(items))])

    def _write_output(self, places: Sequence[tuple[Path, int]]) -> OutputSummary:
        row_count, error_count = 0, 0

        def counted_rows() -> Iterator[Row]:
            nonlocal row_count, error_count
            for rows in _with_progress(self._read_rows(places), f"writing {self.out.name}", len(places)):
                row_count += len(rows)
                error_count += any(row.get("error") for row in rows)
                yield from rows

        temporary = temporary_file(self.folder)
        with reporting_write_errors(self.out):
            write_rows(temporary, self.out.suffix, self.columns, counted_rows())
            os.replace(temporary, self.out)
        self._remove_folder()
        return OutputSummary(len(places), row_count, error_count)

    def _remove_folder(self) -> None:
        """Rename the folder before removing it, so that a concurrent run never sees half of it."""
        removed = self.folder.with_name(f".{self.folder.name}-{secrets.token_hex(4)}")
        try:
            self.folder.rename(removed)
        except OSError:  # on Windows, while another process has one of its files open
            removed = self.folder
        shutil.rmtree(removed, ignore_errors=True)

    def _finished_elsewhere(self) -> str:
        return f"{self.out} exists: another run has finished the same work. Nothing is left to do."

    @contextmanager
    def _explaining_removal(self) -> Iterator[None]:
        """Explain a folder that disappears while it is used."""
        try:
            yield
        except FileNotFoundError as error:
            if self.folder.exists():
                raise
            if self.out.exists():
                raise CommandError(self._finished_elsewhere()) from error
            raise CommandError(f"{self.folder} was removed during this run. Run the command again.") from error

    def _lines(self) -> Iterator[tuple[str, str, Path, int]]:
        """Yield item, stamp, file and offset of every complete line."""
        for file in sorted(self.folder.glob("*.jsonl")):
            offset = 0
            with file.open("rb") as lines:
                for line in lines:
                    parsed = _parse_line(line)
                    if parsed is not None:
                        yield *parsed, file, offset
                    offset += len(line)

    def _read_rows(self, places: Iterable[tuple[Path, int]]) -> Iterator[Sequence[Row]]:
        open_files: dict[Path, Any] = {}
        try:
            for file, offset in places:
                if file not in open_files:
                    open_files[file] = file.open("rb")
                open_files[file].seek(offset)
                yield json.loads(open_files[file].readline())["rows"]
        finally:
            for file in open_files.values():
                file.close()


class Writer:
    """Appends finished items. They are on the disk when `add` returns."""

    def __init__(self, file: Any, folder: Path) -> None:
        self._file = file
        self._folder = folder

    def add(self, finished: Iterable[FinishedItem]) -> None:
        """Append items.

        Raises:
            CommandError: The disk is full.
        """
        lines = b"".join(json_line({"item": one.item, "stamp": one.stamp, "rows": one.rows}) for one in finished)
        with reporting_write_errors(self._folder):
            self._file.write(lines)
            self._file.flush()
            os.fsync(self._file.fileno())


def check_output(out: Path) -> None:
    """Check the path of an output before any work.

    Raises:
        CommandError: The suffix is neither .jsonl nor .parquet, pyarrow is missing, or the output exists. Existing
            files are never removed.
    """
    require(out.suffix in SUFFIXES, CommandError, f"The output is {out}; expected the suffix {' or '.join(SUFFIXES)}.")
    if out.suffix == ".parquet":
        require_pyarrow()
    if out.exists():
        parts = _parts_folder(out)
        unfinished = f" and so does the unfinished run {parts}: remove one of the two" if parts.exists() else ""
        raise CommandError(f"{out} already exists{unfinished}. Choose another output, or move it away.")


def _parts_folder(out: Path) -> Path:
    return out.with_name(f"{out.name}.parts")


def _parse_line(line: bytes) -> tuple[str, str] | None:
    """Return item and stamp, or None for an incomplete line."""
    if not line.endswith(b"\n"):
        return None
    try:
        entry = json.loads(line)
        return str(entry["item"]), str(entry["stamp"])
    except (ValueError, KeyError, TypeError):
        return None


def _with_progress(items: Iterable[Any], label: str, total: int | None, show: bool = True) -> Iterable[Any]:
    """Show a progress bar after two seconds: a million items take half a minute."""
    from tqdm import tqdm

    return tqdm(items, desc=label, total=total, unit="item", delay=2, mininterval=0.5, disable=not show)
