"""Selects the layers of `sem` and `core` for the pocket PrefDisc with `train.probe`."""

from __future__ import annotations

from pathlib import Path

from prefgen.pocket.shapes import FOLDER
from train.probe import __main__ as command

FILE = FOLDER / "preference.safetensors"


def train(folder: Path) -> dict[str, list[int]]:
    """Select layers with the probes, write them into the shipped checkpoint, and return them.

    The new checkpoint contains only PrefDisc, because an alignment and an adapter only work with their own layers.
    """
    new_file = folder / "probe" / FILE.name
    new_file.unlink(missing_ok=True)
    result = command.main(["--out", str(new_file.parent), "--write", str(new_file)])
    new_file.replace(FILE)
    return {name: result[name] for name in ("sem_layers", "core_layers")}
