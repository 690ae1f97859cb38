"""The images that are to be scored, out of a folder or Parquet: their names, and each read when its turn comes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

import torch.nn.functional as F
from torch import Tensor

from ..errors import ImageError
from ..images import read_image
from ..prefdisc.config import PrefDiscSpec
from ..prefdisc.pixels import fitted_size
from .captions import read_caption
from .errors import OfflineError
from .files import below, stamp
from .parquet import ENDING, ImageBytes, Table, image_data, text

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".jfif", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif"})
CAPTION = ".txt"
AHEAD = 2
"""Batches that are decoded while one is scored."""


@dataclass(frozen=True)
class Undecoded:
    """An image as it lies there. name: in the output. data: its file, or its bytes; None where there is none. mark:
    what tells that it has changed. error: what was wrong beside the image."""

    name: str
    data: Path | bytes | None
    prompt: str = ""
    id: str | None = None
    mark: str = ""
    error: str | None = None


@dataclass(frozen=True)
class Candidate:
    """An image (3, h, w) as PrefDisc reads it, or what was wrong with it."""

    name: str
    prompt: str
    id: str | None
    image: Tensor | None
    error: str | None = None
    mark: str = ""


class Source(Protocol):
    """Images with a name each; `read` gives those at some places, undecoded. `mark` is what tells that an image has
    changed, or nothing where there is none of this name."""

    names: Sequence[str]

    def read(self, places: Iterable[int]) -> list[Undecoded]: ...

    def mark(self, name: str) -> str: ...


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
        return [self._one(self.names[place]) for place in places]

    def mark(self, name: str) -> str:
        """Size and time of the file, and of its caption."""
        own = stamp(self.folder / name)
        return f"{own} {stamp(self._caption(name))}" if own and self.captions else own

    def _one(self, name: str) -> Undecoded:
        mark = self.mark(name)  # before it is read: what changes in between is seen to be another
        try:
            return Undecoded(name, self.folder / name, self._prompt(name), mark=mark)
        except OfflineError as error:
            return Undecoded(name, None, mark=mark, error=str(error))

    def _prompt(self, name: str) -> str:
        beside = self._caption(name)
        return read_caption(beside) if self.captions and beside.is_file() else self.prompt

    def _caption(self, name: str) -> Path:
        return (self.folder / name).with_suffix(CAPTION)


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

    def mark(self, name: str) -> str:
        """Size and time of the Parquet file that has the row; files that it names are not looked at."""
        return self.table.mark(name)

    def _one(self, place: int) -> Undecoded:
        row, name = self.table.row(place), self.names[place]
        mark = self.mark(name)
        try:
            prompt = text(row[self.prompt_column]) or "" if self.prompt_column else self.prompt
            own = text(row[self.id_column]) if self.id_column else None
            return Undecoded(name, image_data(row[self.image_column], self.table.folder), prompt, own, mark)
        except OfflineError as error:
            return Undecoded(name, None, mark=mark, error=str(error))


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
    OfflineError where there are none, or both, or a folder cannot be read."""
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
    names = list(below(folder))
    files = [name for name in names if PurePosixPath(name).suffix.lower() in SUFFIXES]
    return files, sum(name.endswith(ENDING) for name in names)


def decode(found: Undecoded, spec: PrefDiscSpec) -> Candidate:
    """Read an image at the size at which PrefDisc reads it, so that images of many sizes make few kinds of batches; the
    pixels are those that PrefDisc's own preprocessing would have made."""
    if found.data is None:
        return _failed(found, found.error or "no image in this row")
    try:
        image = read_image(ImageBytes(found.data, found.name) if isinstance(found.data, bytes) else found.data)
    except ImageError as error:
        return _failed(found, f"not readable as an image ({error.__cause__ or error})")
    size = fitted_size(*image.shape[-2:], spec)
    # Only where it is fitted for good: with a shortest edge above the longest it would be resized once more.
    if size != tuple(image.shape[-2:]) and fitted_size(*size, spec) == size:
        image = F.interpolate(image[None], size=size, mode="bilinear", antialias=True, align_corners=False)[0]
    return Candidate(found.name, found.prompt, found.id, image, mark=found.mark)


def _failed(found: Undecoded, why: str) -> Candidate:
    return Candidate(found.name, found.prompt, found.id, None, why, found.mark)


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
