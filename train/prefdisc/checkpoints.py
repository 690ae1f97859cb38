"""Checkpoints of a run: each a preference checkpoint as ComfyUI loads it, with what a resumed run needs beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from prefgen.checkpoint.file import KIND, Checkpoint, read_checkpoint, write_part
from prefgen.checkpoint.preference_model import POCKET_BASE
from prefgen.errors import CheckpointError
from prefgen.prefdisc.model import PrefDisc
from prefgen.safefile import read_header
from train.prefdisc.lora import load_lora, lora_tensors
from train.prefdisc.sharded import fill, whole
from train.settings import SettingsError, first_difference

FILE = "preference.safetensors"
STATE = "trainer_state.json"
PLAIN, FSDP, DEEPSPEED = "DDP or one process", "FSDP", "DeepSpeed"
OPTIMIZERS = {PLAIN: "optimizer.pt", FSDP: "optimizer_0/.metadata", DEEPSPEED: "latest"}
"""What of a checkpoint holds the optimiser's state, by who keeps it."""


def learnt(prefdisc: PrefDisc) -> dict[str, Tensor]:
    """P_v and the LoRA, whole, under a checkpoint's names. Every process of a run has to ask, all at once."""

    def read() -> dict[str, Tensor]:
        lora = lora_tensors(prefdisc.base) if prefdisc.spec.lora else {}
        return {"tokens": prefdisc.tokens.detach().float()} | lora

    return whole([p for name, p in prefdisc.named_parameters() if name == "tokens" or "lora_" in name], read)


def save_prefdisc(
    path: Path, prefdisc: PrefDisc, summary: Mapping[str, Any], tensors: Mapping[str, Tensor] | None = None
) -> Checkpoint:
    """Write P_v and the LoRA as a checkpoint's prefdisc part; `summary` goes into the header's `training`. tensors:
    what `learnt` gave, where one process writes for all."""
    tensors = learnt(prefdisc) if tensors is None else tensors
    # The pocket base comes with the pocket's image tower; others name theirs when one is trained for them.
    tower = {"image_tower": POCKET_BASE} if prefdisc.spec.base == POCKET_BASE else {}
    return write_part(path, "prefdisc", prefdisc.spec.to_json(), tensors, training={"prefdisc": dict(summary)}, **tower)


def load_prefdisc(path: Path, prefdisc: PrefDisc) -> Checkpoint:
    """Read P_v and the LoRA into a PrefDisc of the same base and spec, in place. Raises CheckpointError."""
    checkpoint = read_checkpoint(path)
    header, tensors = checkpoint.require("prefdisc"), checkpoint.part("prefdisc")
    ours = json.loads(json.dumps(prefdisc.spec.to_json()))
    if (key := first_difference(header, ours)) is not None:
        raise CheckpointError(
            f"{path} has {key} {header.get(key)!r}, the run has {ours.get(key)!r}: "
            "use the settings and the base model it was made with."
        )
    if prefdisc.spec.lora:
        load_lora(prefdisc.base, tensors)
    fill(prefdisc.tokens, tensors["tokens"])
    return checkpoint


def last_complete(folder: Path, processes: int, optimizer: str = PLAIN) -> Path | None:
    """The newest checkpoint folder that was written to its end; a kill can leave one that was not.

    processes: those of this run; a checkpoint of another number serves too, but that its random states (of dropout) are
    drawn anew where they are missing. optimizer: how this run keeps the optimiser's state, of OPTIMIZERS; a newer
    checkpoint that keeps it another way cannot be gone on with, and raises SettingsError.

    transformers' own search takes the one with the highest number. The state is what it writes last, after the weights
    and the optimiser, except that other processes write their random states in their own time.
    """
    steps = {path: path.name.rsplit("-", 1)[1] for path in folder.glob(f"{PREFIX_CHECKPOINT_DIR}-*")}
    found = [path for path, step in steps.items() if step.isdecimal()]  # a person may have kept another beside them
    for path in sorted(found, key=lambda path: int(steps[path]), reverse=True):
        kinds = [kind for kind, kept in OPTIMIZERS.items() if (path / kept).exists()]
        if not (kinds and _is_complete(path, processes)):
            continue
        if optimizer not in kinds:
            raise SettingsError(
                f"{path} was written under {kinds[0]}, this run is under {optimizer}, which keeps the optimiser's "
                "state another way: launch it with the configuration it was begun with, or give another output=FOLDER."
            )
        return path
    return None


def _is_complete(path: Path, processes: int) -> bool:
    try:
        json.loads((path / STATE).read_text(encoding="utf-8"))
        header = read_header(path / FILE, KIND)
    except (OSError, ValueError, CheckpointError):
        return False
    wrote = header.get("training", {}).get("prefdisc", {}).get("processes", processes)
    states = [f"rng_state_{rank}.pth" for rank in range(wrote)] if wrote > 1 else ["rng_state.pth"]
    return all((path / name).is_file() for name in ("scheduler.pt", *states))
