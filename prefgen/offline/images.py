"""The images that are to be scored, out of a folder or Parquet: their names, and each read when its turn comes."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Protocol

import torch.nn.functional as F
from torch import Tensor

from ..errors import ImageError
from ..images import read_image
from ..prefdisc.config import PrefDiscSpec
from ..prefdisc.pixels import fitted_size
from .errors import OfflineError
from .parquet import ENDING, Table, image_data

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".jfif", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif"})
CAPTION = ".txt"
AHEAD = 2
"""Batches that are decoded while one is scored."""


@dataclass(frozen=True)
class Undecoded:
    """An image as it lies there. name: in the output. data: its file, or its bytes; None where there is none."""

    name: str
    data: Path | bytes | None
    prompt: str = ""
    id: str | None = None


@dataclass(frozen=True)
class Candidate:
    """An image (3, h, w) as PrefDisc reads it, or what was wrong with it."""

    name: str
    prompt: str
    id: str | None
    image: Tensor | None
    error: str | None = None


class Source(Protocol):
    """Images with a name each; `read` gives those at some places, undecoded."""

    names: Sequence[str]

    def read(self, places: Iterable[int]) -> list[Undecoded]: ...


class Folder:
    """The image files below a folder, by their paths relative to it, sorted.

    prompt: what they were made for. captions: a .txt file beside an image says its prompt instead.
    """

    def __init__(self, folder: Path, files: Sequence[str], prompt: str = "", captions: bool = False) -> None:
        self.folder = folder
        self.names = sorted(files)
        self.prompt = prompt
        self.captions = captions

    def read(self, places: Iterable[int]) -> list[Undecoded]:
        """Files and prompts."""
        names = [self.names[place] for place in places]
        return [Undecoded(name, self.folder / name, self._prompt(name)) for name in names]

    def _prompt(self, name: str) -> str:
        beside = (self.folder / name).with_suffix(CAPTION)
        if not self.captions or not beside.is_file():
            return self.prompt
        return beside.read_text(encoding="utf-8", errors="replace").strip()


class Rows:
    """The rows of Parquet files. prompt_column, id_column: where prompts and the images' own names are, if anywhere."""

    def __init__(
        self, source: Path, image_column: str, prompt_column: str = "", id_column: str = "", prompt: str = ""
    ) -> None:
        wanted = dict.fromkeys(filter(None, (image_column, prompt_column, id_column)))
        self.table = Table(source, list(wanted))
        self.names = self.table.keys()
        self.image_column, self.prompt_column, self.id_column = image_column, prompt_column, id_column
        self.prompt = prompt

    def read(self, places: Iterable[int]) -> list[Undecoded]:
        """Bytes or paths, prompts and ids."""
        return [self._one(place) for place in places]

    def _one(self, place: int) -> Undecoded:
        row = self.table.row(place)
        prompt = str(row[self.prompt_column] or "") if self.prompt_column else self.prompt
        own = str(row[self.id_column]) if self.id_column else None
        return Undecoded(self.names[place], image_data(row[self.image_column], self.table.folder), prompt, own)


def open_source(
    path: Path,
    *,
    prompt: str = "",
    captions: bool = False,
    image_column: str = "image",
    prompt_column: str = "",
    id_column: str = "",
) -> Source:
    """The images in `path`: a folder of image files, at any depth, a .parquet file, or a folder of those. Raises
    OfflineError where there are none, or both."""
    if path.suffix == ENDING and path.is_file():
        source = Rows(path, image_column, prompt_column, id_column, prompt)
    elif path.is_dir():
        files, tables = _found(path)
        if files and tables:
            raise OfflineError(
                f"{path} holds {len(files):,} images and {tables:,} Parquet files, expected one kind: name one."
            )
        if tables:
            source = Rows(path, image_column, prompt_column, id_column, prompt)
        else:
            source = Folder(path, files, prompt, captions)
    else:
        raise OfflineError(f"{path} is not there, expected a folder of images or a {ENDING} file: name one.")
    if not source.names:
        raise OfflineError(f"{path} holds no image ({', '.join(sorted(SUFFIXES))}) and no row: name another place.")
    return source


def _found(folder: Path) -> tuple[list[str], int]:
    files, tables = [], 0
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        tables += sum(name.endswith(ENDING) for name in names)
        shown = (name for name in names if not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES)
        files += [(Path(place) / name).relative_to(folder).as_posix() for name in shown]
    return files, tables


def decode(found: Undecoded, spec: PrefDiscSpec) -> Candidate:
    """Read an image at the size at which PrefDisc reads it, so that images of many sizes make few kinds of batches; the
    pixels are those that PrefDisc's own preprocessing would have made."""
    if found.data is None:
        return Candidate(found.name, found.prompt, found.id, None, "no image in this row")
    try:
        image = read_image(BytesIO(found.data) if isinstance(found.data, bytes) else found.data)
    except ImageError as error:
        return Candidate(found.name, found.prompt, found.id, None, f"not readable as an image ({error.__cause__})")
    size = fitted_size(*image.shape[-2:], spec)
    # Only where it is fitted for good: with a shortest edge above the longest it would be resized once more.
    if size != tuple(image.shape[-2:]) and fitted_size(*size, spec) == size:
        image = F.interpolate(image[None], size=size, mode="bilinear", antialias=True, align_corners=False)[0]
    return Candidate(found.name, found.prompt, found.id, image)


def decoded(
    source: Source, batches: Iterable[Sequence[int]], reader: Callable[[Undecoded], Candidate], workers: int
) -> Iterator[list[Candidate]]:
    """Batches of places -> batches of candidates; `reader` makes one of each image, some ahead, in threads."""
    with ThreadPoolExecutor(max(1, workers)) as pool:
        waiting: deque = deque()
        for places in batches:
            waiting.append([pool.submit(reader, found) for found in source.read(places)])
            if len(waiting) > AHEAD:
                yield [one.result() for one in waiting.popleft()]
        while waiting:
            yield [one.result() for one in waiting.popleft()]
