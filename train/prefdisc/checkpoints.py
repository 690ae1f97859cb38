"""Checkpoints of a run: each a preference checkpoint as ComfyUI loads it, with what a resumed run needs beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from prefgen.checkpoint import Checkpoint, read_checkpoint, write_part
from prefgen.errors import CheckpointError
from prefgen.prefdisc.model import PrefDisc
from prefgen.preference import POCKET_BASE
from train.prefdisc.lora import load_lora, lora_tensors

FILE = "preference.safetensors"
STATE = "trainer_state.json"


def save_prefdisc(path: Path, prefdisc: PrefDisc, summary: Mapping[str, Any]) -> Checkpoint:
    """Write P_v and the LoRA as a checkpoint's prefdisc part; `summary` goes into the header's `training`."""
    tensors = {"tokens": prefdisc.tokens.detach().float()}
    if prefdisc.spec.lora:
        tensors |= lora_tensors(prefdisc.base)
    # The pocket base comes with the pocket's image tower; others name theirs when one is trained for them.
    tower = {"image_tower": POCKET_BASE} if prefdisc.spec.base == POCKET_BASE else {}
    return write_part(path, "prefdisc", prefdisc.spec.to_json(), tensors, training={"prefdisc": dict(summary)}, **tower)


def load_prefdisc(path: Path, prefdisc: PrefDisc) -> Checkpoint:
    """Read P_v and the LoRA into a PrefDisc of the same base and spec, in place. Raises CheckpointError."""
    checkpoint = read_checkpoint(path)
    header, tensors = checkpoint.require("prefdisc"), checkpoint.part("prefdisc")
    ours = json.loads(json.dumps(prefdisc.spec.to_json()))
    differing = sorted(key for key in header.keys() | ours.keys() if header.get(key) != ours.get(key))
    if differing:
        key = differing[0]
        raise CheckpointError(
            f"{path} has {key} {header.get(key)!r}, the run has {ours.get(key)!r}: "
            "use the settings and the base model it was made with."
        )
    if prefdisc.spec.lora:
        load_lora(prefdisc.base, tensors)
    with torch.no_grad():
        prefdisc.tokens.copy_(tensors["tokens"])
    return checkpoint


def last_complete(folder: Path, processes: int) -> Path | None:
    """The newest checkpoint folder that was written to its end; a kill can leave one that was not.

    transformers' own search takes the one with the highest number. The state is what it writes last, after the weights
    and the optimiser, except that other processes write their random states in their own time.
    """
    found = sorted(folder.glob(f"{PREFIX_CHECKPOINT_DIR}-*"), key=lambda path: int(path.name.rsplit("-", 1)[1]))
    return next((path for path in reversed(found) if _is_complete(path, processes)), None)


def _is_complete(path: Path, processes: int) -> bool:
    states = [f"rng_state_{rank}.pth" for rank in range(processes)] if processes > 1 else ["rng_state.pth"]
    try:
        json.loads((path / STATE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return all((path / name).is_file() for name in (FILE, "optimizer.pt", "scheduler.pt", *states))
