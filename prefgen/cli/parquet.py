"""Parquet files read a row group at a time: images are large, and a set of a million does not fit into memory."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import OfflineError
from .files import below, stamp
from .rows import require_pyarrow

if TYPE_CHECKING:
    import pyarrow as pa

ENDING = ".parquet"


@dataclass(frozen=True)
class Unreadable:
    """A cell that has no value in Python, such as a text that is no UTF-8. why: what was wrong with it."""

    why: str


class Table:
    """The rows of one file, or of all files in a folder by name, but for hidden ones. optional: columns that are read
    where the first file has them. Raises OfflineError for no Parquet, or one without a column that is asked for."""

    def __init__(self, source: Path, columns: Sequence[str], optional: Sequence[str] = ()) -> None:
        require_pyarrow()
        self.folder = source if source.is_dir() else source.parent
        self.columns = list(columns)
        self._optional = optional
        self._stamps: dict[str, str] = {}
        self._groups: list[tuple[Path, int]] = []
        self._starts: list[int] = []
        self._first: dict[Path, int] = {}
        self._length = self._bytes = 0
        self._last: tuple[int, list[dict[str, Any]]] | None = None
        for file in parquet_files(source) if source.is_dir() else [source]:
            self._add(file)

    def __len__(self) -> int:
        return self._length

    def keys(self) -> list[str]:
        """A name for every row: its file, relative to the folder, and its number there."""
        files = [*self._first.items()]
        ends = [*(start for _, start in files[1:]), self._length]
        return [
            f"{self._relative(file)}#{row}"
            for (file, start), end in zip(files, ends, strict=True)
            for row in range(end - start)
        ]

    def mark(self, key: str) -> str:
        """What tells that the file of a row has changed since it was opened; nothing where there is none."""
        return self._stamps.get(key.rpartition("#")[0], "")

    @property
    def marks(self) -> dict[str, str]:
        """The same of every file."""
        return dict(self._stamps)

    @property
    def row_bytes(self) -> int:
        """About how many bytes a row takes in memory."""
        return self._bytes // max(1, self._length)

    def row(self, number: int) -> dict[str, Any]:
        """One row's columns; neighbours come out of memory."""
        group = bisect_right(self._starts, number) - 1
        if self._last is None or self._last[0] != group:
            self._last = (group, self._read(*self._groups[group]))
        return self._last[1][number - self._starts[group]]

    def column(self, name: str) -> list[Any]:
        """One column of all rows."""
        import pyarrow.parquet as pq

        found: list[Any] = []
        for file in self._first:
            with _reading(file, "is damaged"):
                found += _values(pq.ParquetFile(file).read(columns=[name]).column(name))
        return found

    def _add(self, file: Path) -> None:
        import pyarrow.parquet as pq

        self._stamps[self._relative(file)] = stamp(file)
        with _reading(file, "is no Parquet file that can be read"):
            opened = pq.ParquetFile(file)
            present = opened.schema_arrow.names
        if not self._first:
            self.columns += [name for name in self._optional if name in present]
        missing = [name for name in self.columns if name not in present]
        if missing:
            raise OfflineError(
                f"{file} has no column {missing[0]!r}, its columns are {', '.join(present)}: name the one that is "
                "meant."
            )
        self._first[file] = self._length
        for group in range(opened.num_row_groups):
            about = opened.metadata.row_group(group)
            self._groups.append((file, group))
            self._starts.append(self._length)
            self._length += about.num_rows
            self._bytes += about.total_byte_size

    def _read(self, file: Path, group: int) -> list[dict[str, Any]]:
        import pyarrow.parquet as pq

        with _reading(file, f"is damaged in row group {group}"):
            found = pq.ParquetFile(file).read_row_group(group, columns=self.columns)
            columns = [_values(found.column(name)) for name in self.columns]
        return [dict(zip(self.columns, row, strict=True)) for row in zip(*columns, strict=True)]

    def _relative(self, file: Path) -> str:
        return file.relative_to(self.folder).as_posix()


def parquet_files(folder: Path) -> list[Path]:
    """The Parquet files below a folder, but for hidden ones. Raises OfflineError as `below` does."""
    return sorted(folder / name for name in below(folder) if name.endswith(ENDING))


def text(value: Any) -> str | None:
    """What a cell says, also where its bytes are a text's; None where it is empty. Raises OfflineError for what is no
    text."""
    if isinstance(value, Unreadable):
        raise OfflineError(f"a cell that cannot be read ({value.why})")
    try:
        return value.decode() if isinstance(value, bytes) else None if value is None else str(value)
    except UnicodeDecodeError as error:
        raise OfflineError(f"a cell that is no text ({error})") from error


def image_data(value: Any, folder: Path) -> bytes | Path | None:
    """What a cell says an image is: its file's bytes, a struct of bytes and path as the datasets library writes it, or
    a path, relative to the folder or absolute. None where it says nothing. Raises OfflineError where it cannot be
    read."""
    if isinstance(value, Unreadable):
        raise OfflineError(f"a cell that cannot be read ({value.why})")
    if isinstance(value, dict):
        value = value.get("bytes") or value.get("path")
    if isinstance(value, str):
        return folder / value
    return value if isinstance(value, bytes) and value else None


class ImageBytes(BytesIO):
    """An image's bytes, which errors call by their name and not by their place in memory."""

    def __init__(self, data: bytes, name: str) -> None:
        super().__init__(data)
        self._name = name

    def __repr__(self) -> str:
        return self._name


@contextmanager
def _reading(file: Path, what: str) -> Iterator[None]:
    """Says which file it is that pyarrow cannot read."""
    import pyarrow as pa

    try:
        yield
    except (OSError, pa.ArrowException) as error:
        raise OfflineError(f"{file} {what} ({' '.join(str(error).split())}): get it again.") from error


def _values(column: pa.ChunkedArray) -> list[Any]:
    """A column in Python. Texts are not checked when a file is read, nor are times; then each cell is tried alone."""
    try:
        return column.to_pylist()
    except (ValueError, OverflowError):
        return [_value(cell) for cell in column]


def _value(cell: pa.Scalar) -> Any:
    try:
        return cell.as_py()
    except (ValueError, OverflowError) as error:
        return Unreadable(str(error))
