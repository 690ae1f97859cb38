"""Where base models are: the bundled one, folders of them on this machine, and the Hugging Face cache."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import torch

from ...errors import CheckpointError
from ...pocket import shapes
from ...safefile import read_header, read_listing
from .base_model import KIND, Base, load_base
from .hub import cached
from .huggingface import Progress, is_folder, lacking_files, load_folder, weigh_folder
from .quantization import Quantize
from .shards import bytes_needed

POCKET_BASE = "prefgen/pocket"


@dataclass(frozen=True)
class BaseReading:
    """How a base is read. dtype: what it computes in. quantize: 4 or 8 bits by bitsandbytes, on `device` (see
    `load_folder`). progress: told of tensors read and tensors in all."""

    dtype: torch.dtype = torch.float32
    quantize: Quantize = "none"
    device: torch.device | str = "cpu"
    progress: Progress | None = None


@dataclass(frozen=True)
class BasePlace:
    """Where a base model lies. path: a base file of ours, or a Hugging Face folder. in_cache: Hugging Face's cache has
    it, where a download that was stopped leaves some of its files."""

    path: Path
    id: str
    in_cache: bool = False

    def lacks(self) -> list[str]:
        """The names of files that a download into the cache has still to fetch. Raises CheckpointError for an index of
        shards that cannot be read."""
        return lacking_files(self.path) if self.in_cache else []

    def size(self, dtype: torch.dtype, quantize: Quantize = "none") -> int:
        """The bytes that it will take. Raises CheckpointError for files that are missing or damaged."""
        if self.path.is_dir():
            return weigh_folder(self.path, dtype, quantize)
        shapes = {name: entry["shape"] for name, entry in read_listing(self.path).items() if name != "__metadata__"}
        return bytes_needed(shapes, dtype)

    def load(self, reading: BaseReading) -> Base:
        """Read it. Raises CheckpointError: see `load_folder` and `load_base`; and for a base file that is to be
        quantised."""
        if self.path.is_dir():
            return load_folder(
                self.path, self.id, reading.dtype, reading.quantize, reading.device, progress=reading.progress
            )
        if reading.quantize != "none":
            raise CheckpointError(
                f"{self.path.name} is a base file, and those are small: {reading.quantize} is for folders in Hugging "
                "Face's format. Choose float32 or bfloat16."
            )
        return load_base(self.path, reading.dtype)


def find_base(wanted: str, folders: Sequence[Path], dtype: torch.dtype = torch.float32) -> Base | None:
    """The base model of this id, None where it is not on this machine: see `locate_base`.

    Raises CheckpointError where it is here and cannot be read.
    """
    place = locate_base(wanted, folders)
    return place and place.load(BaseReading(dtype))


def locate_base(wanted: str, folders: Sequence[Path], revision: str = "") -> BasePlace | None:
    """Where the base model of this id is, None where it is not on this machine.

    folders: each holds base models, a folder each: a base file of ours beside its tokenizer, named anything; or a
    Hugging Face folder, named by the id: `HuggingFaceM4/idefics2-8b`, `HuggingFaceM4--idefics2-8b` or `idefics2-8b`.
    After them the Hugging Face cache is looked into, without any network, for that `revision` if it is a commit:
    what lies there may be incomplete (see `BasePlace.lacks`).
    """
    if wanted == POCKET_BASE:
        return BasePlace(shapes.weights_path("prefdisc"), wanted)
    for file in (file for folder in folders for file in sorted(Path(folder).glob("*/*.safetensors"))):
        if _is_base(file, wanted):
            return BasePlace(file, wanted)
    for folder in (Path(folder) / name for folder in folders for name in _names(wanted)):
        if is_folder(folder):
            return BasePlace(folder, wanted)
    folder = cached(wanted, revision)
    return BasePlace(folder, wanted, in_cache=True) if folder else None


def _names(wanted: str) -> tuple[str, ...]:
    """What the folder of a base may be called. An id out of a file that somebody shared leads nowhere else."""
    path = PurePosixPath(wanted)
    if path.is_absolute() or ".." in path.parts or not path.parts or "\\" in wanted:
        return ()
    return wanted, wanted.replace("/", "--"), path.name


def _is_base(path: Path, wanted: str) -> bool:
    try:
        return read_header(path, KIND).get("id") == wanted
    except CheckpointError:
        return False
