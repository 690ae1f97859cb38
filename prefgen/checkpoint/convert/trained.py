"""Takes the preference checkpoint out of the output folder of a PrefDisc training.

A run's folder holds `MODE/stage1` and `MODE/stage2`. A stage's folder holds `preference.safetensors` when it has
finished, and `checkpoint-N/preference.safetensors` before. Optimiser states beside them are not read.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from ...errors import CheckpointError
from ...validation import first_nonfinite, require
from ..file import Checkpoint, read_checkpoint, write_part
from .output_file import check_new, replace_when_complete

FILE = "preference.safetensors"
STAGES = ("stage2", "stage1")
STEP = "checkpoint-"


def convert_trained(
    source: str | Path, out: str | Path, *, licence: str | None = None, force: bool = False
) -> Checkpoint:
    """Copy the checkpoint of a training.

    Args:
        source: The folder of a run (its last stage counts), of a stage (its newest step, if it has not finished) or of
            a step.
        out: The file to write.
        licence: Licence of the weights, for the header.
        force: Whether to replace an existing file.

    Raises:
        CheckpointError: There is no checkpoint or several runs, the checkpoint is damaged or NaN, or `out` exists.
    """
    out = check_new(out, force)
    file = find_trained(source)
    checkpoint = read_checkpoint(file)
    require(file.resolve() != out.resolve(), CheckpointError, f"{out} is the training's own file. Choose another.")
    if broken := first_nonfinite(checkpoint.tensors.items()):
        raise CheckpointError(f"{file} contains NaN or infinity ({broken}). Take an earlier step, or train again.")
    out.parent.mkdir(parents=True, exist_ok=True)
    with replace_when_complete(out) as temporary:
        shutil.copyfile(file, temporary)
        if licence is not None:
            part = checkpoint.require("prefdisc"), checkpoint.part("prefdisc")
            write_part(temporary, "prefdisc", *part, licence=licence)
    return read_checkpoint(out)


def find_trained(source: str | Path) -> Path:
    """Find the checkpoint in a training's folder. Raises CheckpointError if there is none, or several runs."""
    source = Path(source)
    if source.is_file():
        return source
    is_run = _newest_file(source) or any((source / stage).is_dir() for stage in STAGES)
    runs = [source] if is_run else sorted({path.parent for stage in STAGES for path in source.glob(f"*/{stage}")})
    if len(runs) > 1:
        raise CheckpointError(f"{source} has several runs ({', '.join(path.name for path in runs)}). Choose one.")
    for folder in runs:
        for place in (*(folder / stage for stage in STAGES), folder):
            if file := _newest_file(place):
                return file
    raise CheckpointError(
        f"{source} has no {FILE}, and neither have {', '.join(STAGES)} and {STEP}N in it. Choose the output folder of "
        "train.prefdisc."
    )


def _newest_file(folder: Path) -> Path | None:
    """Return the checkpoint of a finished stage, or of its newest step."""
    if (folder / FILE).is_file():
        return folder / FILE
    steps = [path for path in folder.glob(f"{STEP}*/{FILE}") if path.parent.name.removeprefix(STEP).isdigit()]
    return max(steps, key=lambda path: int(path.parent.name.removeprefix(STEP)), default=None)
