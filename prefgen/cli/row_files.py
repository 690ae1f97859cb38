"""Writes rows to JSONL and Parquet files."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from ..validation import requiring_package
from .errors import CommandError

SUFFIXES = (".jsonl", ".parquet")
ROW_GROUP_SIZE = 10_000
"""Rows in a row group of a Parquet file."""

Row = dict[str, Any]


def write_rows(path: Path, suffix: str, columns: Mapping[str, str], rows: Iterator[Row]) -> None:
    """Write a file in the format of one of the `SUFFIXES`, with these columns only.

    Raises:
        OSError: The file cannot be written.
    """
    selected = ({name: row.get(name) for name in columns} for row in rows)
    if suffix == ".jsonl":
        write_and_sync(path, map(json_line, selected))
    else:
        _write_parquet(path, columns, selected)


def write_and_sync(path: Path, chunks: Iterable[bytes]) -> None:
    """Write a file and wait until it is on the disk.

    Raises:
        OSError: The file cannot be written.
    """
    with path.open("wb") as file:
        for chunk in chunks:
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())


def json_line(value: Any) -> bytes:
    """Encode a value as a line of JSON. File names that are not valid text are escaped and can be restored."""
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False).encode() + b"\n"
    except UnicodeEncodeError:
        return json.dumps(value, allow_nan=False).encode() + b"\n"


@contextmanager
def reporting_write_errors(path: Path) -> Iterator[None]:
    """Add the path to errors of the system that name no file, for example on a full disk.

    Raises:
        CommandError: In place of an OSError without a file name.
    """
    try:
        yield
    except OSError as error:
        if error.filename is not None:
            raise
        problem = f"{path} cannot be written ({error.strerror or error})"
        raise CommandError(f"{problem}. Free some space, and run the same command again.") from error


def require_pyarrow() -> None:
    """Raise CommandError if Parquet files cannot be read or written."""
    with requiring_package("pyarrow", "Parquet", CommandError):
        import pyarrow.parquet  # noqa: F401


def _write_parquet(path: Path, columns: Mapping[str, str], rows: Iterator[Row]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([(name, pa.type_for_alias(kind)) for name, kind in columns.items()])
    with pq.ParquetWriter(path, schema) as writer:
        while group := [{name: _storable(v) for name, v in row.items()} for row in islice(rows, ROW_GROUP_SIZE)]:
            writer.write_table(pa.Table.from_pylist(group, schema))


def _storable(value: Any) -> Any:
    """Return a value that Parquet can store: invalid bytes of a file name become text such as \\udcff."""
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value
