"""Reads and writes a run's checkpoints: a preference checkpoint for ComfyUI, and the Trainer's state for resuming."""

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
from train.prefdisc.lora import load_lora, lora_state_dict
from train.prefdisc.sharded import copy_full_tensor, gather_full_tensors
from train.settings import SettingsError, first_difference

FILE = "preference.safetensors"
STATE = "trainer_state.json"
PLAIN, FSDP, DEEPSPEED = "DDP or one process", "FSDP", "DeepSpeed"
OPTIMIZERS = {PLAIN: "optimizer.pt", FSDP: "optimizer_0/.metadata", DEEPSPEED: "latest"}
"""For each backend, the file in a checkpoint that contains the optimiser's state."""


def trained_tensors(prefdisc: PrefDisc) -> dict[str, Tensor]:
    """Gather the preference tokens and the LoRA under their checkpoint names. All processes must call this."""

    def read() -> dict[str, Tensor]:
        lora = lora_state_dict(prefdisc.base) if prefdisc.spec.lora else {}
        return {"tokens": prefdisc.tokens.detach().float()} | lora

    return gather_full_tensors(
        [p for name, p in prefdisc.named_parameters() if name == "tokens" or "lora_" in name], read
    )


def save_prefdisc(
    path: Path, prefdisc: PrefDisc, summary: Mapping[str, Any], tensors: Mapping[str, Tensor] | None = None
) -> Checkpoint:
    """Write the preference tokens and the LoRA as the prefdisc part of a checkpoint.

    Args:
        path: The checkpoint.
        prefdisc: The trained model.
        summary: Training metadata for the header.
        tensors: Result of `trained_tensors`. Required if not all processes call this function.
    """
    tensors = trained_tensors(prefdisc) if tensors is None else tensors
    # At this point, only the pocket base has an image tower.
    tower = {"image_tower": POCKET_BASE} if prefdisc.spec.base == POCKET_BASE else {}
    return write_part(path, "prefdisc", prefdisc.spec.to_json(), tensors, training={"prefdisc": dict(summary)}, **tower)


def load_prefdisc(path: Path, prefdisc: PrefDisc, without_tokens: bool = False) -> Checkpoint:
    """Load the preference tokens and the LoRA into a PrefDisc with the same base and specification, in place.

    Args:
        path: The checkpoint.
        prefdisc: The model.
        without_tokens: Whether the checkpoint has no preference tokens. The model's tokens then stay unchanged.

    Raises:
        CheckpointError: The checkpoint cannot be read or has a different specification.
    """
    checkpoint = read_checkpoint(path)
    header, tensors = checkpoint.require("prefdisc"), checkpoint.part("prefdisc")
    ours = json.loads(json.dumps(prefdisc.spec.to_json())) | ({"num_tokens": 0} if without_tokens else {})
    if (key := first_difference(header, ours)) is not None:
        raise CheckpointError(
            f"{key} of {path} is {header.get(key)!r}; the run has {ours.get(key)!r}. Use the settings and the base "
            "model of the checkpoint."
        )
    if prefdisc.spec.lora:
        load_lora(prefdisc.base, tensors)
    if not without_tokens:
        copy_full_tensor(prefdisc.tokens, tensors["tokens"])
    return checkpoint


def last_complete(folder: Path, processes: int, optimizer: str = PLAIN) -> Path | None:
    """Return the newest complete checkpoint folder, or None. A killed run can leave an incomplete one.

    transformers' own search returns the checkpoint with the highest number, even if it is incomplete. The Trainer
    writes its state after the weights and the optimiser, but other processes may write their random states even later.

    Args:
        folder: Folder of the run.
        processes: Number of processes of this run. A checkpoint from a run with a different number can be used, but
            missing random states (for dropout) are initialised again.
        optimizer: Backend that keeps the optimiser's state in this run, one of OPTIMIZERS.

    Raises:
        SettingsError: The newest complete checkpoint was written by a different backend.
    """
    steps = {path: path.name.rsplit("-", 1)[1] for path in folder.glob(f"{PREFIX_CHECKPOINT_DIR}-*")}
    numbered = [path for path, step in steps.items() if step.isdecimal()]  # skips renamed copies of checkpoints
    for path in sorted(numbered, key=lambda path: int(steps[path]), reverse=True):
        backends = [backend for backend, file in OPTIMIZERS.items() if (path / file).exists()]
        if not (backends and _is_complete(path, processes)):
            continue
        if optimizer not in backends:
            raise SettingsError(
                f"{path} was written with {backends[0]}; this run uses {optimizer}, whose optimiser state has a "
                "different format. Use the run's original accelerate configuration, or set a different output=FOLDER."
            )
        return path
    return None


def _is_complete(path: Path, processes: int) -> bool:
    try:
        json.loads((path / STATE).read_text(encoding="utf-8"))
        header = read_header(path / FILE, KIND)
    except (OSError, ValueError, CheckpointError):
        return False
    writers = header.get("training", {}).get("prefdisc", {}).get("processes", processes)
    states = [f"rng_state_{rank}.pth" for rank in range(writers)] if writers > 1 else ["rng_state.pth"]
    return all((path / name).is_file() for name in ("scheduler.pt", *states))
