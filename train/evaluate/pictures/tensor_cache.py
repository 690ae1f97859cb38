"""Stores generated pictures on disk, so that interrupted runs can be continued."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor

from prefgen.pocket.shapes import weights_path


def cached_tensors(file: Path, compute: Callable[[], Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Load the tensors in `file`; compute and write them atomically first if the file does not exist."""
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary = file.with_suffix(".tmp")
        save_file({name: tensor.contiguous() for name, tensor in compute().items()}, temporary)
        temporary.replace(file)
    return load_file(file)


def weights_digests(parts: Sequence[str] = ("unet", "text_encoders", "vae")) -> list[str]:
    """Return hashes of the pocket models' weight files, as part of cache keys."""
    return [hashlib.sha256(weights_path(part).read_bytes()).hexdigest() for part in parts]
