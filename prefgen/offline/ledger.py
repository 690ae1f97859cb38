"""What of a long piece of work is done, on disk, so that a killed run goes on: no row is lost, none comes twice.

Beside the output OUT lies the folder OUT.parts while the work goes on: `about.json` says what is being done, and every
process of every run appends to a file of its own, one line for each item that is done, with the item's rows. When all
items are done their rows become OUT, in the items' order, under its name when it is whole; the folder goes.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import OfflineError

ABOUT = "about.json"
ENDINGS = (".jsonl", ".parquet")
AT_ONCE = 10_000
"""Rows that are put into a Parquet file's row group."""

Row = dict[str, Any]
Done = tuple[str, Sequence[Row]]


@dataclass(frozen=True)
class Tally:
    """What an output holds: items (images or people), rows, and how many items have an error."""

    items: int
    rows: int
    errors: int


class Ledger:
    """The work of one output.

    out: ends in .jsonl or .parquet. columns: names of a row's values, and Parquet's type of each ("string", "double",
    "int64"). about: what is being done, as JSON; a run goes on only with the same. Raises OfflineError as
    `check_output` does.
    """

    def __init__(self, out: Path, columns: Mapping[str, str], about: Mapping[str, Any]) -> None:
        check_output(out)
        self.out = out
        self.columns = dict(columns)
        self.about = json.loads(json.dumps(about))
        self.folder = _parts(out)

    def begin(self) -> None:
        """Make the folder, or find one that the same work was begun in; for one process only. Raises OfflineError where
        other work was begun in it."""
        about = self.folder / ABOUT
        if not about.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            _write_whole(about, [json.dumps(self.about, indent=1).encode()])
            return
        theirs = json.loads(about.read_text(encoding="utf-8"))
        differing = sorted(key for key in theirs.keys() | self.about.keys() if theirs.get(key) != self.about.get(key))
        if differing:
            key = differing[0]
            raise OfflineError(
                f"{self.folder} holds work begun with {key} {_short(theirs.get(key))}, this one has "
                f"{_short(self.about.get(key))}: go on with the same, name another output, or remove that folder."
            )

    def done(self, shown: bool = False) -> set[str]:
        """The items that are done. shown: with a progress bar, where there are many."""
        return {item for item, _, _ in _told(self._lines(), "finding what is done", None, shown)}

    @contextmanager
    def writing(self, rank: int) -> Iterator[Writer]:
        """A file of this process's own to append to; what a killed run left half written stays alone in its file."""
        name = f"{rank:05d}-{secrets.token_hex(8)}.jsonl"
        with (self.folder / name).open("wb") as file:
            yield Writer(file)

    def finish(self, items: Sequence[str]) -> Tally:
        """Put the rows of all items into the output, in their order, and remove the folder; for one process only, when
        all are ready. Raises OfflineError where items are missing."""
        order = {item: place for place, item in enumerate(items)}
        places: dict[int, tuple[Path, int]] = {}
        for item, file, offset in _told(self._lines(), "finding what is done", None):
            if item in order:
                places.setdefault(order[item], (file, offset))  # two runs at once may have done one item both
        if len(places) < len(items):
            first = next(item for item, place in order.items() if place not in places)
            raise OfflineError(
                f"{self.folder} holds {len(places):,} of {len(items):,} items (not {first!r}): run the same command "
                "again. If machines wrote to folders of their own, bring all their files into that one first."
            )
        rows, errors = 0, 0

        def counted() -> Iterator[Row]:
            nonlocal rows, errors
            read = self._read(places[place] for place in range(len(items)))
            for found in _told(read, f"writing {self.out.name}", len(items)):
                rows += len(found)
                errors += any(row.get("error") for row in found)
                yield from found

        self._write(counted())
        shutil.rmtree(self.folder, ignore_errors=True)
        return Tally(len(items), rows, errors)

    def _lines(self) -> Iterator[tuple[str, Path, int]]:
        """Item, file and offset of every whole line; the last one of a killed process may be none."""
        for file in sorted(self.folder.glob("*.jsonl")):
            offset = 0
            with file.open("rb") as lines:
                for line in lines:
                    item = _item(line)
                    if item is not None:
                        yield item, file, offset
                    offset += len(line)

    def _read(self, places: Iterable[tuple[Path, int]]) -> Iterator[Sequence[Row]]:
        opened: dict[Path, Any] = {}
        try:
            for file, offset in places:
                if file not in opened:
                    opened[file] = file.open("rb")
                opened[file].seek(offset)
                yield json.loads(opened[file].readline())["rows"]
        finally:
            for file in opened.values():
                file.close()

    def _write(self, rows: Iterator[Row]) -> None:
        ordered = ({name: row.get(name) for name in self.columns} for row in rows)
        if self.out.suffix == ".jsonl":
            _write_whole(self.out, (json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in ordered))
            return
        import pyarrow as pa
        import pyarrow.parquet as pq

        schema = pa.schema([(name, pa.type_for_alias(kind)) for name, kind in self.columns.items()])
        passing = self.out.with_name(f".{self.out.name}.writing")
        with pq.ParquetWriter(passing, schema) as writer:
            waiting: list[Row] = []
            for row in ordered:
                waiting.append(row)
                if len(waiting) == AT_ONCE:
                    writer.write_table(pa.Table.from_pylist(waiting, schema))
                    waiting.clear()
            writer.write_table(pa.Table.from_pylist(waiting, schema))
        os.replace(passing, self.out)


class Writer:
    """Appends what is done; what `add` has returned from is on the disk."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def add(self, done: Iterable[Done]) -> None:
        """Items and the rows of each."""
        lines = (json.dumps({"item": item, "rows": rows}, ensure_ascii=False).encode() + b"\n" for item, rows in done)
        self._file.write(b"".join(lines))
        self._file.flush()
        os.fsync(self._file.fileno())


def check_output(out: Path) -> None:
    """Raise OfflineError for another ending than JSONL's and Parquet's, for Parquet without pyarrow, and where the
    output is there."""
    if out.suffix not in ENDINGS:
        raise OfflineError(f"{out} is to be written, expected a name that ends in {' or '.join(ENDINGS)}: name it so.")
    if out.suffix == ".parquet":
        require_pyarrow()
    if out.exists():
        shutil.rmtree(_parts(out), ignore_errors=True)  # of a run that was killed after its last step
        raise OfflineError(f"{out} is there already, and whole: name another output, or remove it first.")


def _parts(out: Path) -> Path:
    return out.with_name(f"{out.name}.parts")


def require_pyarrow() -> None:
    """Raise OfflineError where Parquet cannot be read or written."""
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError as error:
        raise OfflineError(
            "Parquet needs the package pyarrow: pip install pyarrow, or use JSONL and folders."
        ) from error


def _item(line: bytes) -> str | None:
    if not line.endswith(b"\n"):
        return None
    try:
        return str(json.loads(line)["item"])
    except (ValueError, KeyError, TypeError):
        return None


def _write_whole(path: Path, chunks: Iterable[bytes]) -> None:
    passing = path.with_name(f".{path.name}.writing")
    with passing.open("wb") as file:
        for chunk in chunks:
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
    os.replace(passing, path)


def _told(items: Iterable[Any], what: str, total: int | None, shown: bool = True) -> Iterable[Any]:
    """The same, with a progress bar once it has taken two seconds: a million items take half a minute."""
    from tqdm import tqdm

    return tqdm(items, desc=what, total=total, unit="item", delay=2, mininterval=0.5, disable=not shown)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 160 else f"{text[:160]}..."
