"""Streams the rows of Pick-a-Pic from Parquet shards in a folder or on the Hub, with `datasets`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from train.data.user_sets import SetError

BATCH = 64  # rows decoded together; with two images per row about 20 MB


@dataclass(frozen=True)
class Shards:
    """A source of rows: its name for reports, and the path and files for `datasets.load_dataset`."""

    name: str
    path: str
    files: list[str] | str

    @classmethod
    def open(cls, source: str, files: str, allow_download: bool) -> Shards:
        """Find the shards of a source.

        Raises:
            SetError: The folder has no shards, or the source needs a download that is not allowed.
        """
        folder = Path(source)
        if folder.is_dir():
            paths = sorted(str(file) for file in folder.rglob(files))
            if not paths:
                raise SetError(f"{source} has no file {files!r}; expected Parquet shards. Correct --source or --files.")
            return cls(f"{folder.name}: {len(paths)} shards", "parquet", paths)
        if not allow_download:
            raise SetError(
                f"{source} is not a folder; expected a folder with Parquet shards. Add --allow-download if it is the "
                "id of a dataset on the Hugging Face Hub (Pick-a-Pic v2 is over 300 GB)."
            )
        return cls(source, source, f"**/{files}")

    def rows(self, columns: tuple[str, ...], state: dict | None) -> Rows:
        """Return the rows with some columns, from a `state` (see `Rows.state`) or from the beginning."""
        return Rows(self, columns, state)


class Rows:
    """One pass over the rows of the shards.

    Raises:
        SetError: A shard cannot be read, or columns are missing.
    """

    def __init__(self, shards: Shards, columns: tuple[str, ...], state: dict | None) -> None:
        self._name = shards.name
        with _reading_errors(self._name):
            self._stream = _stream(shards, columns)
        missing = sorted(set(columns) - set(self._stream.column_names or columns))
        if missing:
            raise SetError(
                f"{shards.name} has no column {', '.join(missing)}; expected those of Pick-a-Pic v2. Pass its Parquet "
                "shards as --source."
            )
        if state:
            self._stream.load_state_dict(state)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        with _reading_errors(self._name):
            yield from self._stream

    def state(self) -> dict:
        """Return the position after the last row as JSON values."""
        return self._stream.state_dict()


def _stream(shards: Shards, columns: tuple[str, ...]):
    from datasets import load_dataset

    return load_dataset(
        shards.path,
        data_files={"shards": shards.files},
        split="shards",
        streaming=True,
        columns=list(columns),
        batch_size=BATCH,
    )


@contextmanager
def _reading_errors(name: str) -> Iterator[None]:
    """Turn errors of pyarrow and datasets into a SetError that names the source."""
    import pyarrow
    from datasets.exceptions import DatasetsError

    try:
        yield
    except (pyarrow.ArrowException, DatasetsError, OSError, ValueError, KeyError) as error:
        cause = error.__cause__ or error
        raise SetError(f"{name} cannot be read ({cause}). Replace the shard, and run again.") from error
