"""Where base models are: the bundled one, and folders of them on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import torch

from ..errors import CheckpointError
from ..pocket import shapes
from ..safefile import read_header
from .base import KIND, Base, load_base
from .huggingface import is_folder, load_folder

POCKET_BASE = "prefgen/pocket"


def find_base(wanted: str, folders: Sequence[Path], dtype: torch.dtype = torch.float32) -> Base | None:
    """The base model of this id, None where it is not here.

    folders: each holds base models, a folder each: a base file of ours beside its tokenizer, named anything; or a
    Hugging Face folder, named by the id: `HuggingFaceM4/idefics2-8b`, `HuggingFaceM4--idefics2-8b` or `idefics2-8b`.
    Raises CheckpointError where it is here and cannot be read.
    """
    if wanted == POCKET_BASE:
        return load_base(shapes.weights_path("prefdisc"), dtype)
    for file in (file for folder in folders for file in sorted(Path(folder).glob("*/*.safetensors"))):
        if _is_base(file, wanted):
            return load_base(file, dtype)
    for folder in (Path(folder) / name for folder in folders for name in _names(wanted)):
        if is_folder(folder):
            return load_folder(folder, wanted, dtype)
    return None


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
