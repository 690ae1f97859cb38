"""Lists the tensors of a Hugging Face folder from its files' headers, and computes the memory that they need."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

import torch

from ...errors import CheckpointError
from ...safefile import read_shapes
from ...validation import errors_as

DOWNLOAD_SHARDS = "Download the shards and the index again."
SINGLE_FILE = "model.safetensors"
INDEX = "model.safetensors.index.json"

QUANTIZED_BYTES = {"nf4": 0.5 + 4 / 64, "int8": 1.0}
"""Bytes per weight. nf4: 4 bits, and a float32 scale for every 64 weights. int8: the scale per row hardly counts."""

UNQUANTIZED_MODULES = ("lm_head", "vision_model")
"""PrefDisc reads only two rows of the vocabulary matrix, and the vision tower is small and sensitive to rounding."""


def listed_tensors(folder: Path) -> dict[str, tuple[int, ...]]:
    """Read the shapes of all tensors of `model.safetensors`, or of the shards that the index lists.

    Raises:
        CheckpointError: A file is missing or damaged, or a shard does not hold the tensors that the index lists.
    """
    if missing := missing_weights(folder):
        raise CheckpointError(f"{folder} lacks {len(missing)} files of weights ({missing[0]}). Download them.")
    if (folder / SINGLE_FILE).is_file():
        return read_shapes(folder / SINGLE_FILE)
    tensors: dict[str, tuple[int, ...]] = {}
    for name, expected in sorted(_shards(folder / INDEX).items()):
        shapes = read_shapes(folder / name)
        if missing := sorted(expected - set(shapes)):
            raise CheckpointError(f"{folder / name} lacks {len(missing)} tensors ({missing[0]}). {DOWNLOAD_SHARDS}")
        tensors |= shapes
    return tensors


def missing_weights(folder: Path) -> list[str]:
    """Return the names of missing weight files, according to the folder's index.

    Raises:
        CheckpointError: The index cannot be read.
    """
    if (folder / SINGLE_FILE).is_file():
        return []
    if not (folder / INDEX).is_file():
        return [f"{SINGLE_FILE} or {INDEX}"]
    return [name for name in sorted(_shards(folder / INDEX)) if not (folder / name).is_file()]


def bytes_needed(tensors: Mapping[str, tuple[int, ...]], dtype: torch.dtype, quantize: str = "none") -> int:
    """Compute the memory in bytes that a base model with these tensors needs once it is loaded."""
    return round(
        sum(
            math.prod(shape) * (QUANTIZED_BYTES[quantize] if _is_quantized(name, shape, quantize) else dtype.itemsize)
            for name, shape in tensors.items()
        )
    )


def _is_quantized(name: str, shape: tuple[int, ...], quantize: str) -> bool:
    if quantize == "none" or len(shape) != 2 or not name.endswith(".weight"):
        return False
    return not any(part in name for part in (*UNQUANTIZED_MODULES, "embed"))


def _shards(index: Path) -> dict[str, set[str]]:
    """Return the tensor names of each shard in the index."""
    shards: dict[str, set[str]] = {}
    errors = (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError)
    with errors_as(CheckpointError, f"{index} is not an index of shards", "Download it again.", errors):
        for tensor, name in json.loads(index.read_text(encoding="utf-8"))["weight_map"].items():
            shards.setdefault(name, set()).add(tensor)
        # A name from a downloaded file must not lead out of the folder.
        unsafe = [name for name in shards if Path(name).name != name or not name.endswith(".safetensors")]
    if unsafe or not shards:
        raise CheckpointError(f"{index} lists {unsafe or 'no shards'}; expected .safetensors files beside it.")
    return shards
