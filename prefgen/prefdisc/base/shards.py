"""What lies in a Hugging Face folder's .safetensors files, by their headers: checked, and weighed, before any tensor is
read."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

import torch

from ...errors import CheckpointError
from ...safefile import read_listing

WHOLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
SAFE = ".safetensors"

QUANTIZED_BYTES = {"nf4": 0.5 + 4 / 64, "int8": 1.0}
"""Bytes a weight takes: 4 bits and, for every 64 weights, a float32 scale; 8 bits (a scale a row hardly counts)."""

KEPT_WHOLE = ("lm_head", "vision_model")
"""Modules that are never quantised: PrefDisc reads two rows of the one, and the other is small and sees best whole."""


def listed_tensors(folder: Path) -> dict[str, tuple[int, ...]]:
    """Every tensor's shape, by name, of `model.safetensors`, or of the shards that its index names.

    Raises CheckpointError naming the file: none is there, a shard is missing, cut short or no safetensors, or holds
    other tensors than the index says.
    """
    if (folder / WHOLE).is_file():
        return _shapes(folder / WHOLE)
    if not (folder / INDEX).is_file():
        raise CheckpointError(
            f"{folder} has neither {WHOLE} nor {INDEX}, expected the weights of its base model: download its "
            f"*{SAFE} files and their index."
        )
    tensors: dict[str, tuple[int, ...]] = {}
    shards = _shards(folder / INDEX)
    for number, (name, expected) in enumerate(sorted(shards.items()), 1):
        path = folder / name
        if not path.is_file():
            raise CheckpointError(
                f"{folder} lacks the shard {name} ({number} of the {len(shards)} that its index names): download it."
            )
        found = _shapes(path)
        if missing := sorted(expected - set(found)):
            raise CheckpointError(
                f"{path} lacks {len(missing)} tensors that the index places there (the first is {missing[0]}): it "
                "belongs to another model or version, download the shards and the index again."
            )
        tensors |= found
    return tensors


def lacking_weights(folder: Path) -> list[str]:
    """The names of the weights' files that a folder lacks, by its own index; a file that is there may be damaged still.
    Raises CheckpointError for an index that cannot be read."""
    if (folder / WHOLE).is_file():
        return []
    if not (folder / INDEX).is_file():
        return [f"{WHOLE} or {INDEX}"]
    return [name for name in sorted(_shards(folder / INDEX)) if not (folder / name).is_file()]


def bytes_needed(tensors: Mapping[str, tuple[int, ...]], dtype: torch.dtype, quantize: str = "none") -> int:
    """What a base model of these tensors takes once it is read."""
    return round(
        sum(
            math.prod(shape) * (QUANTIZED_BYTES[quantize] if _quantised(name, shape, quantize) else dtype.itemsize)
            for name, shape in tensors.items()
        )
    )


def _quantised(name: str, shape: tuple[int, ...], quantize: str) -> bool:
    if quantize == "none" or len(shape) != 2 or not name.endswith(".weight"):
        return False
    return not any(part in name for part in (*KEPT_WHOLE, "embed"))


def _shapes(path: Path) -> dict[str, tuple[int, ...]]:
    listing = read_listing(path)
    return {name: tuple(entry["shape"]) for name, entry in listing.items() if name != "__metadata__"}


def _shards(index: Path) -> dict[str, set[str]]:
    """The index's shards, each with the tensors it places there."""
    try:
        places = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        shards: dict[str, set[str]] = {}
        for tensor, name in places.items():
            shards.setdefault(name, set()).add(tensor)
        if not shards:
            raise ValueError("it names none")
        # A name out of a downloaded file leads nowhere else.
        odd = sorted(name for name in shards if Path(name).name != name or not name.endswith(SAFE))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"{index} cannot be read as an index of shards ({error}): download it again.") from error
    if odd:
        raise CheckpointError(f"{index} names {odd[0]!r}, expected *{SAFE} files beside it: download it again.")
    return shards
