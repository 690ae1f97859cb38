"""Where a converted checkpoint goes: a new file, there when it is whole."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from ...errors import CheckpointError
from ..file import Checkpoint, read_checkpoint, write_part


def check_new(out: str | Path, force: bool = False) -> Path:
    """`out`, if a checkpoint may be written there. Raises CheckpointError for another ending, or a file that is there
    and is not to be replaced."""
    out = Path(out)
    if out.suffix != ".safetensors":
        raise CheckpointError(f"{out} is to be written, expected a name that ends in .safetensors: name it so.")
    if out.exists() and not force:
        raise CheckpointError(f"{out} is there already: name another file, or replace it with --force.")
    return out


def write_new(
    out: str | Path, spec: Mapping[str, Any], tensors: Mapping[str, Tensor], *, force: bool, **about: Any
) -> Checkpoint:
    """Write a checkpoint with a prefdisc part; under `out` when it is whole. Raises CheckpointError as `check_new`."""
    out = check_new(out, force)
    passing = out.with_name(f".{out.stem}.converting.safetensors")
    passing.unlink(missing_ok=True)
    try:
        write_part(passing, "prefdisc", spec, tensors, **about)
        os.replace(passing, out)
    finally:
        passing.unlink(missing_ok=True)
    return read_checkpoint(out)
