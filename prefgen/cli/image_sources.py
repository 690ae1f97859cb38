"""Reads the images to score from a folder or from Parquet, with their prompts."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

from torch import Tensor

from ..errors import ImageError
from ..images import read_image
from ..prefdisc.config import PrefDiscSpec
from ..prefdisc.pixels import shrink
from ..validation import require
from .captions import read_caption
from .errors import CommandError
from .files import file_stamp, list_files
from .parquet import SUFFIX, ImageBytes, ParquetTable, cell_image, cell_text

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".jfif", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif"})
CAPTION_SUFFIX = ".txt"
PREFETCHED_BATCHES = 2
"""Batches that are decoded while another one is scored."""


@dataclass(frozen=True)
class EncodedImage:
    """An image before decoding.

    Attributes:
        name: Name in the output.
        data: Path or bytes of the image file; None if there is none.
        prompt: Prompt that the image was made for.
        id: Value of the id column.
        stamp: Reveals that the image has changed since.
        error: Problem with the row or caption.
    """

    name: str
    data: Path | bytes | None
    prompt: str = ""
    id: str | None = None
    stamp: str = ""
    error: str | None = None


@dataclass(frozen=True)
class Candidate:
    """A decoded image (3, H, W) at the size at which PrefDisc reads it, or the error that prevented decoding."""

    name: str
    prompt: str
    id: str | None
    image: Tensor | None
    error: str | None = None
    stamp: str = ""


class ImageSource(Protocol):
    """Named images. `read` returns the encoded images at some indices; `stamp` returns "" for unknown names."""

    names: Sequence[str]

    def read(self, indices: Iterable[int]) -> list[EncodedImage]: ...

    def stamp(self, name: str) -> str: ...


class FolderSource:
    """The image files below a folder, sorted, named by their relative paths.

    Args:
        folder: The folder.
        files: Paths relative to it.
        prompt: Prompt of all images.
        captions: Whether a .txt file beside an image overrides the prompt.
    """

    def __init__(self, folder: Path, files: Sequence[str], prompt: str = "", captions: bool = False) -> None:
        self.folder = folder
        self.names = sorted(files)
        self.prompt = prompt
        self.captions = captions

    def read(self, indices: Iterable[int]) -> list[EncodedImage]:
        """Return paths and prompts."""
        return [self._read(self.names[index]) for index in indices]

    def stamp(self, name: str) -> str:
        """Return the stamps of the file and of its caption."""
        image = file_stamp(self.folder / name)
        return f"{image} {file_stamp(self._caption_path(name))}" if image and self.captions else image

    def _read(self, name: str) -> EncodedImage:
        stamp = self.stamp(name)  # before reading, so that later changes are noticed
        try:
            return EncodedImage(name, self.folder / name, self._read_prompt(name), stamp=stamp)
        except CommandError as error:
            return EncodedImage(name, None, stamp=stamp, error=str(error))

    def _read_prompt(self, name: str) -> str:
        caption = self._caption_path(name)
        return read_caption(caption) if self.captions and caption.is_file() else self.prompt

    def _caption_path(self, name: str) -> Path:
        return (self.folder / name).with_suffix(CAPTION_SUFFIX)


class ParquetSource:
    """The rows of Parquet files.

    Args:
        source: A file or a folder.
        image_column, prompt_column, id_column: Names of columns; "" for none.
        prompt: Prompt of all images if there is no prompt column.
    """

    def __init__(
        self, source: Path, image_column: str, prompt_column: str = "", id_column: str = "", prompt: str = ""
    ) -> None:
        columns = dict.fromkeys(filter(None, (image_column, prompt_column, id_column)))
        self.table = ParquetTable(source, list(columns))
        self.names = self.table.keys()
        self.image_column, self.prompt_column, self.id_column = image_column, prompt_column, id_column
        self.prompt = prompt

    def read(self, indices: Iterable[int]) -> list[EncodedImage]:
        """Return bytes or paths, prompts and ids."""
        return [self._read(index) for index in indices]

    def stamp(self, name: str) -> str:
        """Return the stamp of the row's Parquet file. Image files that it refers to are not checked."""
        return self.table.stamp(name)

    def _read(self, index: int) -> EncodedImage:
        row, name = self.table.row(index), self.names[index]
        stamp = self.stamp(name)
        try:
            prompt = cell_text(row[self.prompt_column]) or "" if self.prompt_column else self.prompt
            row_id = cell_text(row[self.id_column]) if self.id_column else None
            return EncodedImage(name, cell_image(row[self.image_column], self.table.folder), prompt, row_id, stamp)
        except CommandError as error:
            return EncodedImage(name, None, stamp=stamp, error=str(error))


def open_source(
    path: Path,
    *,
    prompt: str = "",
    captions: bool = False,
    image_column: str = "image",
    prompt_column: str = "",
    id_column: str = "",
) -> ImageSource:
    """Open a folder of image files, a .parquet file, or a folder of .parquet files.

    Raises:
        CommandError: There are no images, both kinds are present, or a folder cannot be read.
    """
    if path.suffix == SUFFIX and path.is_file():
        source = ParquetSource(path, image_column, prompt_column, id_column, prompt)
    elif path.is_dir():
        names = list(list_files(path))
        images = [name for name in names if PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES]
        tables = sum(name.endswith(SUFFIX) for name in names)
        if images and tables:
            counts = f"{len(images):,} images and {tables:,} Parquet files"
            raise CommandError(f"{path} contains {counts}; expected one kind. Choose one.")
        if tables:
            source = ParquetSource(path, image_column, prompt_column, id_column, prompt)
        else:
            source = FolderSource(path, images, prompt, captions)
    else:
        raise CommandError(f"{path} does not exist; expected a folder of images or a {SUFFIX} file.")
    require(source.names, CommandError, f"{path} contains no image ({', '.join(sorted(IMAGE_SUFFIXES))}) and no row.")
    return source


def decode(image: EncodedImage, spec: PrefDiscSpec | None) -> Candidate:
    """Decode an image and resize it to the size at which PrefDisc reads it.

    Images of many sizes then form few kinds of batches. The pixels equal those of PrefDisc's own preprocessing.

    Args:
        image: The image.
        spec: PrefDisc's configuration. None keeps the size, for scorers that are not a PrefDisc.
    """
    if image.data is None:
        return _failed(image, image.error or "no image in this row")
    try:
        pixels = read_image(ImageBytes(image.data, image.name) if isinstance(image.data, bytes) else image.data)
    except ImageError as error:
        return _failed(image, f"not readable as an image ({error.__cause__ or error})")
    pixels = pixels if spec is None else shrink(pixels[None], spec)[0]
    return Candidate(image.name, image.prompt, image.id, pixels, stamp=image.stamp)


def _failed(image: EncodedImage, reason: str) -> Candidate:
    return Candidate(image.name, image.prompt, image.id, None, reason, image.stamp)


def decode_batches(
    source: ImageSource, batches: Iterable[Sequence[int]], decoder: Callable[[EncodedImage], Candidate], workers: int
) -> Iterator[list[Candidate]]:
    """Decode batches of indices in threads, some of them ahead of time."""
    with ThreadPoolExecutor(max(1, workers)) as pool:
        pending: deque = deque()
        for indices in batches:
            pending.append([pool.submit(decoder, image) for image in source.read(indices)])
            if len(pending) > PREFETCHED_BATCHES:
                yield [future.result() for future in pending.popleft()]
        while pending:
            yield [future.result() for future in pending.popleft()]
