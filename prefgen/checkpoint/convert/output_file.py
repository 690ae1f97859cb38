"""Writes a converted checkpoint to a new file, which appears only when it is complete."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor

from ...errors import CheckpointError
from ..file import Checkpoint, read_checkpoint, write_part


def check_new(out: str | Path, force: bool = False) -> Path:
    """Return `out` if a checkpoint may be written there.

    Raises:
        CheckpointError: The name does not end in .safetensors, or the file exists and `force` is False.
    """
    out = Path(out)
    if out.suffix != ".safetensors":
        raise CheckpointError(f"{out} is the output; expected a name ending in .safetensors.")
    if out.exists() and not force:
        raise CheckpointError(f"{out} already exists. Choose another file, or replace it with --force.")
    return out


@contextmanager
def replace_when_complete(out: Path) -> Iterator[Path]:
    """Yield a temporary path, which becomes `out` if the block succeeds and is deleted if it fails."""
    temporary = out.with_name(f".{out.stem}.converting.safetensors")
    temporary.unlink(missing_ok=True)
    try:
        yield temporary
        os.replace(temporary, out)
    finally:
        temporary.unlink(missing_ok=True)


def write_new(
    out: str | Path, spec: Mapping[str, Any], tensors: Mapping[str, Tensor], *, force: bool, **header_values: Any
) -> Checkpoint:
    """Write a checkpoint with a prefdisc part. Raises what `check_new` raises."""
    out = check_new(out, force)
    with replace_when_complete(out) as temporary:
        write_part(temporary, "prefdisc", spec, tensors, **header_values)
    return read_checkpoint(out)
