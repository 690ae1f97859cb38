"""The pocket PrefDisc's probes: which of its layers make `sem` and `core`, chosen by `train.probe`."""

from __future__ import annotations

from pathlib import Path

from prefgen.pocket.shapes import FOLDER
from train.probe import __main__ as command

FILE = FOLDER / "preference.safetensors"


def train(folder: Path) -> dict[str, list[int]]:
    """Probe, and begin the shipped checkpoint anew with PrefDisc and its chosen layers alone: an alignment and an
    adapter made for other layers would not fit. Returns the layers."""
    begun = folder / "probe" / FILE.name
    begun.unlink(missing_ok=True)
    found = command.main(["--out", str(begun.parent), "--write", str(begun)])
    begun.replace(FILE)
    return {name: found[name] for name in ("sem_layers", "core_layers")}
