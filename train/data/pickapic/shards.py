"""The source of Pick-a-Pic's rows: Parquet shards in a folder or on the Hub, streamed with `datasets`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from train.data.user_sets import SetError

BATCH = 64  # rows decoded at once: with two images a row, about 20 MB


@dataclass(frozen=True)
class Shards:
    """Where rows come from. name: what a report calls it. path, files: as `datasets.load_dataset` takes them."""

    name: str
    path: str
    files: list[str] | str

    @classmethod
    def open(cls, source: str, files: str, allow_download: bool) -> Shards:
        """Name the shards. Raises SetError where a folder has none, or where the Hub would have to be asked."""
        folder = Path(source)
        if folder.is_dir():
            found = sorted(str(file) for file in folder.rglob(files))
            if not found:
                raise SetError(f"{source} has no file {files!r}, expected Parquet shards: correct --source or --files.")
            return cls(f"{folder.name}: {len(found)} shards", "parquet", found)
        if not allow_download:
            raise SetError(
                f"{source} is no folder, expected one with Parquet shards: name one, or add --allow-download if it is "
                "the id of a data set on the Hugging Face Hub (Pick-a-Pic v2 is over 300 GB)."
            )
        return cls(source, source, f"**/{files}")

    def rows(self, columns: tuple[str, ...], state: dict | None) -> Rows:
        """The rows with these columns, from `state` (see `Rows.state`) or from the beginning."""
        return Rows(self, columns, state)


class Rows:
    """One pass over the shards. Raises SetError for a shard that cannot be read, and for columns that are missing."""

    def __init__(self, shards: Shards, columns: tuple[str, ...], state: dict | None) -> None:
        self._name = shards.name
        with _told(self._name):
            self._stream = _stream(shards, columns)
        missing = sorted(set(columns) - set(self._stream.column_names or columns))
        if missing:
            raise SetError(
                f"{shards.name} has no column {', '.join(missing)}, expected those of Pick-a-Pic v2: "
                "name its Parquet shards with --source."
            )
        if state:
            self._stream.load_state_dict(state)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        with _told(self._name):
            yield from self._stream

    def state(self) -> dict:
        """Where the pass is, after the row given last: as JSON can hold it."""
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
def _told(name: str) -> Iterator[None]:
    """Turns what pyarrow and datasets raise into a SetError that names the source."""
    import pyarrow
    from datasets.exceptions import DatasetsError

    try:
        yield
    except (pyarrow.ArrowException, DatasetsError, OSError, ValueError, KeyError) as error:
        cause = error.__cause__ or error
        raise SetError(f"{name} could not be read ({cause}): replace the shard, and run again.") from error
