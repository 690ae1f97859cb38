"""Reads Parquet files one row group at a time, since a set of a million images does not fit into memory."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..validation import errors_as
from .errors import CommandError
from .files import file_stamp, list_files
from .row_files import require_pyarrow

if TYPE_CHECKING:
    import pyarrow as pa

SUFFIX = ".parquet"


@dataclass(frozen=True)
class UnreadableCell:
    """A cell without a Python value, for example text that is not UTF-8."""

    reason: str


class ParquetTable:
    """The rows of one Parquet file, or of all files in a folder in the order of their names.

    Args:
        source: A file or a folder. Hidden files are skipped.
        columns: Names of required columns.
        optional: Names of columns that are read if the first file has them.

    Raises:
        CommandError: A file is not Parquet, or lacks a required column.
    """

    def __init__(self, source: Path, columns: Sequence[str], optional: Sequence[str] = ()) -> None:
        require_pyarrow()
        self.folder = source if source.is_dir() else source.parent
        self.columns = list(columns)
        self._optional = optional
        self._stamps: dict[str, str] = {}
        self._groups: list[tuple[Path, int]] = []
        self._group_starts: list[int] = []
        self._file_starts: dict[Path, int] = {}
        self._length = self._bytes = 0
        self._cached_group: tuple[int, list[dict[str, Any]]] | None = None
        for file in parquet_files(source) if source.is_dir() else [source]:
            self._add_file(file)

    def __len__(self) -> int:
        return self._length

    def keys(self) -> list[str]:
        """Return a name for every row: its file relative to the folder, and its index in the file."""
        files = [*self._file_starts.items()]
        ends = [*(start for _, start in files[1:]), self._length]
        return [
            f"{self._relative(file)}#{row}"
            for (file, start), end in zip(files, ends, strict=True)
            for row in range(end - start)
        ]

    def stamp(self, key: str) -> str:
        """Return the stamp of a row's file at the time it was opened, or "" for an unknown row."""
        return self._stamps.get(key.rpartition("#")[0], "")

    @property
    def stamps(self) -> dict[str, str]:
        """The stamps of all files."""
        return dict(self._stamps)

    @property
    def row_bytes(self) -> int:
        """Approximate size of a row in memory."""
        return self._bytes // max(1, self._length)

    def row(self, index: int) -> dict[str, Any]:
        """Return the columns of one row. The row group of the last row is cached."""
        group = bisect_right(self._group_starts, index) - 1
        if self._cached_group is None or self._cached_group[0] != group:
            self._cached_group = (group, self._read_group(*self._groups[group]))
        return self._cached_group[1][index - self._group_starts[group]]

    def column(self, name: str) -> list[Any]:
        """Return one column of all rows."""
        import pyarrow.parquet as pq

        values: list[Any] = []
        for file in self._file_starts:
            with _reporting_read_errors(file, "is damaged"):
                values += _python_values(pq.ParquetFile(file).read(columns=[name]).column(name))
        return values

    def _add_file(self, file: Path) -> None:
        import pyarrow.parquet as pq

        self._stamps[self._relative(file)] = file_stamp(file)
        with _reporting_read_errors(file, "is not a readable Parquet file"):
            parquet = pq.ParquetFile(file)
            present = parquet.schema_arrow.names
        if not self._file_starts:
            self.columns += [name for name in self._optional if name in present]
        missing = [name for name in self.columns if name not in present]
        if missing:
            raise CommandError(f"{file} has no column {missing[0]!r}; its columns are {', '.join(present)}.")
        self._file_starts[file] = self._length
        for group in range(parquet.num_row_groups):
            metadata = parquet.metadata.row_group(group)
            self._groups.append((file, group))
            self._group_starts.append(self._length)
            self._length += metadata.num_rows
            self._bytes += metadata.total_byte_size

    def _read_group(self, file: Path, group: int) -> list[dict[str, Any]]:
        import pyarrow.parquet as pq

        with _reporting_read_errors(file, f"is damaged in row group {group}"):
            table = pq.ParquetFile(file).read_row_group(group, columns=self.columns)
            columns = [_python_values(table.column(name)) for name in self.columns]
        return [dict(zip(self.columns, row, strict=True)) for row in zip(*columns, strict=True)]

    def _relative(self, file: Path) -> str:
        return file.relative_to(self.folder).as_posix()


def parquet_files(folder: Path) -> list[Path]:
    """Return the Parquet files below a folder, sorted, without hidden ones."""
    return sorted(folder / name for name in list_files(folder) if name.endswith(SUFFIX))


def cell_text(value: Any) -> str | None:
    """Return the text of a cell, decoding bytes, or None for an empty cell.

    Raises:
        CommandError: The cell cannot be read as text.
    """
    if isinstance(value, UnreadableCell):
        raise CommandError(f"an unreadable cell ({value.reason}).")
    with errors_as(CommandError, "a cell that is not text", kinds=UnicodeDecodeError):
        return value.decode() if isinstance(value, bytes) else None if value is None else str(value)


def cell_image(value: Any, folder: Path) -> bytes | Path | None:
    """Return the image of a cell: bytes of a file, or a path.

    Args:
        value: Bytes, a path relative to `folder` or absolute, or a struct of bytes and path as the datasets library
            writes it.
        folder: Folder of the table.

    Returns:
        None for an empty cell.

    Raises:
        CommandError: The cell cannot be read.
    """
    if isinstance(value, UnreadableCell):
        raise CommandError(f"an unreadable cell ({value.reason}).")
    if isinstance(value, dict):
        value = value.get("bytes") or value.get("path")
    if isinstance(value, str):
        return folder / value
    return value if isinstance(value, bytes) and value else None


class ImageBytes(BytesIO):
    """Bytes of an image file with a name for error messages."""

    def __init__(self, data: bytes, name: str) -> None:
        super().__init__(data)
        self._name = name

    def __repr__(self) -> str:
        return self._name


def _reporting_read_errors(file: Path, problem: str) -> AbstractContextManager:
    import pyarrow as pa

    return errors_as(CommandError, f"{file} {problem}", "Get the file again.", (OSError, pa.ArrowException))


def _python_values(column: pa.ChunkedArray) -> list[Any]:
    """Convert a column to Python values, cell by cell if one is invalid: pyarrow checks neither text nor times."""
    try:
        return column.to_pylist()
    except (ValueError, OverflowError):
        return [_python_value(cell) for cell in column]


def _python_value(cell: pa.Scalar) -> Any:
    try:
        return cell.as_py()
    except (ValueError, OverflowError) as error:
        return UnreadableCell(str(error))
