"""What of a long piece of work is done, on disk, so that a killed run goes on: no row is lost, none comes twice.

Beside the output OUT lies the folder OUT.parts while the work goes on: `about.json` says what is being done, and every
process of every run appends to a file of its own, one line for each item that is done, with the item's rows and a mark
that tells what the item was. When all items are done their rows become OUT, in the items' order, under its name when it
is whole; the folder goes.
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

from .errors import OfflineError
from .rows import (
    ENDINGS,
    Row,
    as_line,
    require_pyarrow,
    write_rows,
    write_whole,
    writing_to,
)

ABOUT = "about.json"


class Done(NamedTuple):
    """An item's rows. mark: what the item was, such as its file's size and time; nothing where nobody asks."""

    item: str
    rows: Sequence[Row]
    mark: str = ""


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
        with self._taken_away(), writing_to(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            if not (self.folder / ABOUT).exists():
                self._say_what_it_is()
            theirs = self._theirs()
        differing = sorted(key for key in theirs.keys() | self.about.keys() if theirs.get(key) != self.about.get(key))
        if differing:
            found, own = _differing(theirs.get(differing[0]), self.about.get(differing[0]))
            raise OfflineError(
                f"{self.folder} holds work begun with {differing[0]} {_short(found)}, this one has {_short(own)}: go "
                "on with the same, name another output, or remove that folder."
            )

    def done(self, shown: bool = False, mark: Callable[[str], str] | None = None) -> set[str]:
        """The items that are done. shown: with a progress bar, where there are many. mark: what an item is now, or
        nothing where there is none. Raises OfflineError for an item that was another one when it was done."""
        found = set()
        with self._taken_away():
            for item, was, _, _ in _told(self._lines(), "finding what is done", None, shown):
                now = mark(item) if mark and was else ""
                if now and now != was:
                    raise OfflineError(
                        f"{item!r} has changed since its rows were made ({was} then, {now} now: size and time): put "
                        f"back what it was, name another output, or remove {self.folder} to begin anew."
                    )
                found.add(item)
        return found

    @contextmanager
    def writing(self, rank: int) -> Iterator[Writer]:
        """A file of this process's own to append to; what a killed run left half written stays alone in its file."""
        name = f"{rank:05d}-{secrets.token_hex(8)}.jsonl"
        with self._taken_away():
            file = (self.folder / name).open("wb")
        try:
            yield Writer(file, self.folder)
        finally:
            with writing_to(self.folder):  # what could not be written is tried once more
                file.close()

    def finish(self, items: Sequence[str]) -> Tally:
        """Put the rows of all items into the output, in their order, and remove the folder; for one process only, when
        all are ready. Raises OfflineError where items are missing."""
        order = {item: place for place, item in enumerate(items)}
        places: dict[int, tuple[Path, int]] = {}
        with self._taken_away():
            for item, _, file, offset in _told(self._lines(), "finding what is done", None):
                if item in order:
                    places.setdefault(order[item], (file, offset))  # two runs at once may have done one item both
            if self.out.exists():
                raise OfflineError(self._finished())
            if len(places) < len(items):
                first = next(item for item, place in order.items() if place not in places)
                raise OfflineError(
                    f"{self.folder} holds {len(places):,} of {len(items):,} items (not {first!r}): run the same "
                    "command again. If machines wrote to folders of their own, bring all their files into that one "
                    "first."
                )
            return self._put_together([places[place] for place in range(len(items))])

    def _put_together(self, places: Sequence[tuple[Path, int]]) -> Tally:
        rows, errors = 0, 0

        def counted() -> Iterator[Row]:
            nonlocal rows, errors
            for found in _told(self._read(places), f"writing {self.out.name}", len(places)):
                rows += len(found)
                errors += any(row.get("error") for row in found)
                yield from found

        passing = self._passing()
        with writing_to(self.out):
            write_rows(passing, self.out.suffix, self.columns, counted())
            os.replace(passing, self.out)
        self._remove()
        return Tally(len(places), rows, errors)

    def _say_what_it_is(self) -> None:
        about = self.folder / ABOUT
        if any(self.folder.glob("*.jsonl")) and not about.exists():
            raise OfflineError(
                f"{self.folder} holds rows and no {ABOUT}, which says what they are of: remove that folder, or name "
                "another output."
            )
        passing = self._passing()
        write_whole(passing, [json.dumps(self.about, indent=1).encode()])
        try:
            os.link(passing, about)  # which, unlike a move, leaves what another run has said in the meantime
        except FileExistsError:
            pass
        except OSError:  # a file system without links
            os.replace(passing, about)
        passing.unlink(missing_ok=True)

    def _theirs(self) -> dict[str, Any]:
        try:
            theirs = json.loads((self.folder / ABOUT).read_text(encoding="utf-8"))
        except ValueError:
            theirs = None
        if not isinstance(theirs, dict):
            raise OfflineError(
                f"{self.folder / ABOUT} is damaged and does not say what work was begun: remove that folder, or name "
                "another output."
            )
        return theirs

    def _remove(self) -> None:
        """All of the folder at once, so that another run that is at work in it leaves no half of one behind."""
        going = self.folder.with_name(f".{self.folder.name}-{secrets.token_hex(4)}")
        try:
            self.folder.rename(going)
        except OSError:  # Windows, while another process has a file of it open
            going = self.folder
        shutil.rmtree(going, ignore_errors=True)

    def _passing(self) -> Path:
        """A file that no other run writes, which goes with the folder."""
        return self.folder / f"{secrets.token_hex(8)}.writing"

    def _finished(self) -> str:
        return f"{self.out} is there: another run of the same work has finished it, and nothing is left to do."

    @contextmanager
    def _taken_away(self) -> Iterator[None]:
        """Says what it means that the folder goes while it is used."""
        try:
            yield
        except FileNotFoundError as error:
            if self.folder.exists():
                raise
            if self.out.exists():
                raise OfflineError(self._finished()) from error
            raise OfflineError(f"{self.folder} was removed while this run used it: run the command again.") from error

    def _lines(self) -> Iterator[tuple[str, str, Path, int]]:
        """Item, mark, file and offset of every whole line; the last one of a killed process may be none."""
        for file in sorted(self.folder.glob("*.jsonl")):
            offset = 0
            with file.open("rb") as lines:
                for line in lines:
                    told = _parsed(line)
                    if told is not None:
                        yield *told, file, offset
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


class Writer:
    """Appends what is done; what `add` has returned from is on the disk."""

    def __init__(self, file: Any, folder: Path) -> None:
        self._file = file
        self._folder = folder

    def add(self, done: Iterable[Done]) -> None:
        """Items and the rows of each. Raises OfflineError where there is no room."""
        lines = b"".join(as_line({"item": one.item, "mark": one.mark, "rows": one.rows}) for one in done)
        with writing_to(self._folder):
            self._file.write(lines)
            self._file.flush()
            os.fsync(self._file.fileno())


def check_output(out: Path) -> None:
    """Raise OfflineError for another ending than JSONL's and Parquet's, for Parquet without pyarrow, and where the
    output is there. Nothing is removed: only a person knows what a file is that lies where the output belongs."""
    if out.suffix not in ENDINGS:
        raise OfflineError(f"{out} is to be written, expected a name that ends in {' or '.join(ENDINGS)}: name it so.")
    if out.suffix == ".parquet":
        require_pyarrow()
    if not out.exists():
        return
    if _parts(out).exists():
        raise OfflineError(
            f"{out} is there already, and beside it {_parts(out)} with the work of a run that did not end: to go on "
            f"with that, move {out.name} away; if {out.name} is what you want, remove the folder."
        )
    raise OfflineError(f"{out} is there already: name another output, or remove it first.")


def _parts(out: Path) -> Path:
    return out.with_name(f"{out.name}.parts")


def _parsed(line: bytes) -> tuple[str, str] | None:
    """Item and mark."""
    if not line.endswith(b"\n"):
        return None
    try:
        told = json.loads(line)
        return str(told["item"]), str(told["mark"])
    except (ValueError, KeyError, TypeError):
        return None


def _differing(found: Any, own: Any) -> tuple[Any, Any]:
    """Of two tables what is not the same in both."""
    if not isinstance(found, dict) or not isinstance(own, dict):
        return found, own
    keys = {key for key in found.keys() | own.keys() if found.get(key) != own.get(key)}
    return tuple({key: value for key, value in table.items() if key in keys} for table in (found, own))


def _told(items: Iterable[Any], what: str, total: int | None, shown: bool = True) -> Iterable[Any]:
    """The same, with a progress bar once it has taken two seconds: a million items take half a minute."""
    from tqdm import tqdm

    return tqdm(items, desc=what, total=total, unit="item", delay=2, mininterval=0.5, disable=not shown)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 160 else f"{text[:160]}..."
