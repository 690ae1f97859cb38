"""The folder that a training of PrefDisc leaves behind as one preference checkpoint.

A run's folder holds `MODE/stage1` and `MODE/stage2`; a stage's folder holds `preference.safetensors` when it is done,
and `checkpoint-N/preference.safetensors` on the way there. Optimiser states lie beside them and are not read.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from ...errors import CheckpointError
from ...validation import first_nonfinite
from ..file import Checkpoint, read_checkpoint, write_part
from .target import check_new

FILE = "preference.safetensors"
STAGES = ("stage2", "stage1")
STEP = "checkpoint-"


def convert_trained(
    source: str | Path, out: str | Path, *, licence: str | None = None, force: bool = False
) -> Checkpoint:
    """Take the checkpoint out of a training's folder: of a stage, of a run (its last stage), or one step's.

    A stage that is not done gives its newest step. licence: of these weights, for the header. force: replace `out`.
    Raises CheckpointError: there is no checkpoint, or several runs; it is damaged, or has NaN; `out` is there.
    """
    out = check_new(out, force)
    found = find_trained(source)
    whole = read_checkpoint(found)
    if found.resolve() == out.resolve():
        raise CheckpointError(f"{out} is what the training wrote: name another file to put it into.")
    if odd := first_nonfinite(whole.tensors.items()):
        raise CheckpointError(
            f"{found} has NaN or infinities (the first in {odd}): that training came apart, take an earlier step or "
            "train again with a lower rate."
        )
    passing = out.with_name(f".{out.stem}.converting.safetensors")
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        shutil.copyfile(found, passing)
        if licence is not None:
            write_part(passing, "prefdisc", whole.require("prefdisc"), whole.part("prefdisc"), licence=licence)
        passing.replace(out)
    finally:
        passing.unlink(missing_ok=True)
    return read_checkpoint(out)


def find_trained(source: str | Path) -> Path:
    """The checkpoint's file in a training's folder. Raises CheckpointError where there is none, or several runs."""
    source = Path(source)
    if source.is_file():
        return source
    here = _file(source) or any((source / stage).is_dir() for stage in STAGES)
    runs = [source] if here else sorted({path.parent for stage in STAGES for path in source.glob(f"*/{stage}")})
    if len(runs) > 1:
        named = ", ".join(path.name for path in runs)
        raise CheckpointError(f"{source} holds several runs ({named}), expected one: name its folder.")
    for folder in runs:
        for place in (*(folder / stage for stage in STAGES), folder):
            if found := _file(place):
                return found
    raise CheckpointError(
        f"{source} holds no checkpoint of a training, expected {FILE} in it, in {' or '.join(STAGES)} or in {STEP}N: "
        "name a folder that train.prefdisc wrote to."
    )


def _file(folder: Path) -> Path | None:
    """A stage's own checkpoint, else that of its newest step."""
    if (folder / FILE).is_file():
        return folder / FILE
    steps = [path for path in folder.glob(f"{STEP}*/{FILE}") if path.parent.name.removeprefix(STEP).isdigit()]
    return max(steps, key=lambda path: int(path.parent.name.removeprefix(STEP)), default=None)
