"""Pictures are painted once: every part of a row lies in a file whose folder is named by all it depends on."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor

from prefgen.pocket.shapes import weights_path


def kept(file: Path, make: Callable[[], Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The tensors in `file`, made and written whole where it is not there yet."""
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        beside = file.with_suffix(".tmp")
        save_file({name: tensor.contiguous() for name, tensor in make().items()}, beside)
        beside.replace(file)
    return load_file(file)


def weights_digests(parts: Sequence[str] = ("unet", "text_encoders", "vae")) -> list[str]:
    """Fingerprints of the pocket's files: with other weights, other pictures."""
    return [hashlib.sha256(weights_path(part).read_bytes()).hexdigest() for part in parts]
