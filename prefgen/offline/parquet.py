"""Parquet files read a row group at a time: images are large, and a set of a million does not fit into memory."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .errors import OfflineError
from .ledger import require_pyarrow

ENDING = ".parquet"


class Table:
    """The rows of one file, or of all files in a folder by name. Raises OfflineError for no Parquet, or one without a
    column that is asked for."""

    def __init__(self, source: Path, columns: Sequence[str]) -> None:
        require_pyarrow()
        self.folder = source if source.is_dir() else source.parent
        self.columns = list(columns)
        self._groups: list[tuple[Path, int]] = []
        self._starts: list[int] = []
        self._first: dict[Path, int] = {}
        self._length = 0
        self._last: tuple[int, list[dict[str, Any]]] | None = None
        for file in sorted(source.rglob(f"*{ENDING}")) if source.is_dir() else [source]:
            self._add(file)

    def __len__(self) -> int:
        return self._length

    def keys(self) -> list[str]:
        """A name for every row: its file, relative to the folder, and its number there."""
        files = [*self._first.items()]
        ends = [*(start for _, start in files[1:]), self._length]
        return [
            f"{file.relative_to(self.folder).as_posix()}#{row}"
            for (file, start), end in zip(files, ends, strict=True)
            for row in range(end - start)
        ]

    def row(self, number: int) -> dict[str, Any]:
        """One row's columns; neighbours come out of memory."""
        group = bisect_right(self._starts, number) - 1
        if self._last is None or self._last[0] != group:
            self._last = (group, self._read(*self._groups[group]))
        return self._last[1][number - self._starts[group]]

    def column(self, name: str) -> list[Any]:
        """One column of all rows."""
        import pyarrow.parquet as pq

        found = [pq.ParquetFile(file).read(columns=[name]).column(name).to_pylist() for file in self._first]
        return [value for values in found for value in values]

    def _add(self, file: Path) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            opened = pq.ParquetFile(file)
        except (OSError, pa.ArrowException) as error:
            raise OfflineError(f"{file} is no Parquet file that can be read ({error}): get it again.") from error
        missing = [name for name in self.columns if name not in opened.schema_arrow.names]
        if missing:
            raise OfflineError(
                f"{file} has no column {missing[0]!r}, its columns are {', '.join(opened.schema_arrow.names)}: name "
                "the one that is meant."
            )
        self._first[file] = self._length
        for group in range(opened.num_row_groups):
            self._groups.append((file, group))
            self._starts.append(self._length)
            self._length += opened.metadata.row_group(group).num_rows

    def _read(self, file: Path, group: int) -> list[dict[str, Any]]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            return pq.ParquetFile(file).read_row_group(group, columns=self.columns).to_pylist()
        except (OSError, pa.ArrowException) as error:
            raise OfflineError(f"{file} is damaged in row group {group} ({error}): get it again.") from error


def image_data(value: Any, folder: Path) -> bytes | Path | None:
    """What a cell says an image is: its file's bytes, a struct of bytes and path as the datasets library writes it, or
    a path, relative to the folder or absolute. None where it says nothing."""
    if isinstance(value, dict):
        value = value.get("bytes") or value.get("path")
    if isinstance(value, str):
        return folder / value
    return value if isinstance(value, bytes) and value else None
