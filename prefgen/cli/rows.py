"""Rows as a file: JSONL or Parquet, of names that may be no text, on a disk that may be full."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from .errors import OfflineError

ENDINGS = (".jsonl", ".parquet")
AT_ONCE = 10_000
"""Rows that are put into a Parquet file's row group."""

Row = dict[str, Any]


def write_rows(path: Path, kind: str, columns: Mapping[str, str], rows: Iterator[Row]) -> None:
    """Write a file of one of the `ENDINGS`, with these columns alone. Raises OSError."""
    ordered = ({name: row.get(name) for name in columns} for row in rows)
    if kind == ".jsonl":
        write_whole(path, map(as_line, ordered))
    else:
        _write_parquet(path, columns, ordered)


def write_whole(path: Path, chunks: Iterable[bytes]) -> None:
    """Write a file that is on the disk afterwards. Raises OSError."""
    with path.open("wb") as file:
        for chunk in chunks:
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())


def as_line(value: Any) -> bytes:
    """JSON and a line feed. A name that is no text, as a file's may be, is escaped, and read back as it was."""
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False).encode() + b"\n"
    except UnicodeEncodeError:
        return json.dumps(value, allow_nan=False).encode() + b"\n"


@contextmanager
def writing_to(path: Path) -> Iterator[None]:
    """Raises OfflineError that says where it was that the system could not write: it names no file where a disk is
    full."""
    try:
        yield
    except OSError as error:
        if error.filename is not None:
            raise
        raise OfflineError(
            f"{path} could not be written ({error.strerror or error}): make room, or put right what is wrong there, "
            "and give the same command again. What was done is kept."
        ) from error


def require_pyarrow() -> None:
    """Raise OfflineError where Parquet cannot be read or written."""
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError as error:
        raise OfflineError(
            "Parquet needs the package pyarrow: pip install pyarrow, or use JSONL and folders."
        ) from error


def _write_parquet(path: Path, columns: Mapping[str, str], rows: Iterator[Row]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([(name, pa.type_for_alias(kind)) for name, kind in columns.items()])
    with pq.ParquetWriter(path, schema) as writer:
        while waiting := [{name: _storable(value) for name, value in row.items()} for row in islice(rows, AT_ONCE)]:
            writer.write_table(pa.Table.from_pylist(waiting, schema))


def _storable(value: Any) -> Any:
    """What a Parquet file can hold: of a name that is no text, its odd bytes as \\udcff."""
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value
