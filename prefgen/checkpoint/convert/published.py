"""Converts a published preference model, a LoRA with or without preference tokens, into a preference checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from ...errors import CheckpointError
from ...prefdisc.lora import LORA_PREFIX
from ...validation import require
from ..file import Checkpoint
from .layouts import Layout
from .output_file import write_new
from .peft_folder import read_peft_folder
from .pickled import read_pool

POOL_SUFFIXES = (".pt", ".pth", ".bin")
_OTHER_FILES = ("adapter_model", "training_args", "optimizer", "scheduler", "rng_state", "pytorch_model")


def convert_published(
    layout: Layout,
    source: str | Path,
    out: str | Path,
    *,
    procedure: str = "scoring",
    square: int | None = None,
    tokens: str | Path | None = None,
    base: str | None = None,
    licence: str | None = None,
    force: bool = False,
) -> Checkpoint:
    """Convert a published LoRA and its preference tokens into one file.

    Args:
        layout: How the model reads a history.
        source: Folder with `adapter_config.json` and the weights.
        out: The file to write.
        procedure: Which of the authors' procedures the checkpoint follows, "scoring" or "training".
        square: Side of the squares to which images are resized first, 0 to keep their shape. None: as in the procedure.
        tokens: The pickled pool of tokens. None takes the only one in `source`.
        base: Id of the base model, instead of the layout's.
        licence: Licence of the weights, instead of the layout's.
        force: Whether to replace an existing file.

    Raises:
        CheckpointError: See `read_peft_folder` and `read_pool`. Or the procedure is unknown, there is no pool or
            several, tokens and LoRA have different widths, or `out` exists.
    """
    source = Path(source)
    require(source.is_dir(), CheckpointError, f"{source} is not a folder; expected the download of {layout.source}.")
    peft = read_peft_folder(source)
    if peft.width is None:
        raise CheckpointError(f"The LoRA in {peft.folder} does not change a language model. Choose another.")
    pool = read_pool(Path(tokens) if tokens else _find_pool(source)) if layout.has_tokens else None
    if pool is not None and peft.width != pool.shape[1]:
        raise CheckpointError(f"The tokens have width {pool.shape[1]}, the LoRA {peft.width}; expected equal widths.")
    spec = layout.spec_of(procedure)
    spec = replace(
        spec,
        base=base or spec.base,
        square=spec.square if square is None else square,
        num_tokens=0 if pool is None else len(pool),
        lora=peft.lora,
    )
    return write_new(
        out,
        spec.to_json(),
        _checkpoint_tensors(peft.tensors, pool, peft.width),
        licence=licence or layout.licence,
        training={"prefdisc": {"source": layout.source, "procedure": procedure}},
        force=force,
    )


def _checkpoint_tensors(lora: Mapping[str, Tensor], pool: Tensor | None, width: int) -> dict[str, Any]:
    first = next(iter(lora.values()))
    tokens = first.new_zeros((0, width)).float() if pool is None else pool
    return {"tokens": tokens} | {LORA_PREFIX + name: tensor for name, tensor in lora.items()}


def _find_pool(source: Path) -> Path:
    files = (path for path in sorted(source.rglob("*")) if path.suffix in POOL_SUFFIXES and path.is_file())
    pools = [path for path in files if not path.name.startswith(_OTHER_FILES)]
    if len(pools) != 1:
        raise CheckpointError(f"{source} has {len(pools)} possible pools of tokens. Choose one with --tokens.")
    return pools[0]
