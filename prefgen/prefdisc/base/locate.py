"""Finds base models: the bundled one, those in local folders, and those in the Hugging Face cache."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import torch

from ...errors import CheckpointError
from ...pocket import shapes
from ...safefile import read_header, read_shapes
from .base_model import KIND, Base, load_base_file
from .hub import cached_snapshot
from .huggingface import Progress, folder_bytes, is_folder, load_base_folder, missing_files
from .quantization import Quantize
from .shards import bytes_needed

POCKET_BASE = "prefgen/pocket"


@dataclass(frozen=True)
class BaseLoadOptions:
    """Options for loading a base model.

    Attributes:
        dtype: Dtype of the computation.
        quantize: Quantisation by bitsandbytes, or "none".
        device: Device of a quantised model. Others are loaded to the CPU.
        progress: Receives the number of loaded tensors and the total.
    """

    dtype: torch.dtype = torch.float32
    quantize: Quantize = "none"
    device: torch.device | str = "cpu"
    progress: Progress | None = None


@dataclass(frozen=True)
class BaseLocation:
    """Location of a base model on disk.

    Attributes:
        path: One of our base files, or a Hugging Face folder.
        id: Id of the base.
        in_cache: Whether it is in the Hugging Face cache, where a stopped download leaves incomplete folders.
    """

    path: Path
    id: str
    in_cache: bool = False

    def missing_files(self) -> list[str]:
        """Return the names of files that still have to be downloaded into the cache.

        Raises:
            CheckpointError: The index of shards cannot be read.
        """
        return missing_files(self.path) if self.in_cache else []

    def bytes_needed(self, dtype: torch.dtype, quantize: Quantize = "none") -> int:
        """Compute the memory that the base needs. Raises CheckpointError if files are missing or damaged."""
        if self.path.is_dir():
            return folder_bytes(self.path, dtype, quantize)
        return bytes_needed(read_shapes(self.path), dtype)

    def load(self, options: BaseLoadOptions) -> Base:
        """Load the base.

        Raises:
            CheckpointError: See `load_base_folder` and `load_base_file`. Base files cannot be quantised.
        """
        if self.path.is_dir():
            return load_base_folder(
                self.path, self.id, options.dtype, options.quantize, options.device, progress=options.progress
            )
        if options.quantize != "none":
            raise CheckpointError(f"{self.path.name} cannot be quantised; it is small. Choose float32 or bfloat16.")
        return load_base_file(self.path, options.dtype)


def load_base_by_id(base_id: str, folders: Sequence[Path], dtype: torch.dtype = torch.float32) -> Base | None:
    """Load the base model with an id, or return None if it is not on this machine.

    Raises:
        CheckpointError: It cannot be loaded.
    """
    location = locate_base(base_id, folders)
    return location and location.load(BaseLoadOptions(dtype))


def locate_base(base_id: str, folders: Sequence[Path], revision: str = "") -> BaseLocation | None:
    """Find the base model with an id, without using the network.

    Searches the folders first, then the Hugging Face cache.

    Args:
        base_id: Id of the base, such as `HuggingFaceM4/idefics2-8b`.
        folders: Folders of base models. Each base has its own folder there: a base file of ours with any name beside
            its tokenizer, or a Hugging Face folder that is named `HuggingFaceM4/idefics2-8b`,
            `HuggingFaceM4--idefics2-8b` or `idefics2-8b`.
        revision: If it is a commit, only that commit counts in the cache.

    Returns:
        The location, or None. A base in the cache may be incomplete (see `BaseLocation.missing_files`).
    """
    if base_id == POCKET_BASE:
        return BaseLocation(shapes.weights_path("prefdisc"), base_id)
    for file in (file for folder in folders for file in sorted(Path(folder).glob("*/*.safetensors"))):
        if _is_base_file(file, base_id):
            return BaseLocation(file, base_id)
    for folder in (Path(folder) / name for folder in folders for name in _folder_names(base_id)):
        if is_folder(folder):
            return BaseLocation(folder, base_id)
    folder = cached_snapshot(base_id, revision)
    return BaseLocation(folder, base_id, in_cache=True) if folder else None


def _folder_names(base_id: str) -> tuple[str, ...]:
    """Return the possible folder names of a base. Ids from shared files that lead elsewhere have none."""
    path = PurePosixPath(base_id)
    if path.is_absolute() or ".." in path.parts or not path.parts or "\\" in base_id:
        return ()
    return base_id, base_id.replace("/", "--"), path.name


def _is_base_file(path: Path, base_id: str) -> bool:
    try:
        return read_header(path, KIND).get("id") == base_id
    except CheckpointError:
        return False
