"""A published preference model as a preference checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from ...errors import CheckpointError
from ...prefdisc.lora import PREFIX
from ..file import Checkpoint
from .layouts import Layout
from .peft_folder import read_peft_folder
from .pickled import read_pool
from .target import write_new

POOLS = (".pt", ".pth", ".bin")
_OTHERS = ("adapter_model", "training_args", "optimizer", "scheduler", "rng_state", "pytorch_model")


def convert_published(
    layout: Layout,
    source: str | Path,
    out: str | Path,
    *,
    tokens: str | Path | None = None,
    base: str | None = None,
    licence: str | None = None,
    force: bool = False,
) -> Checkpoint:
    """Convert a published LoRA, and the preference tokens that belong to it, into one file.

    source: a folder with `adapter_config.json` and the weights. tokens: the pickled pool; None takes the one that lies
    in `source`. base, licence: instead of the layout's. force: replace `out`. Raises CheckpointError: see
    `read_peft_folder` and `read_pool`; no pool, or several; tokens and LoRA of different widths; `out` is there.
    """
    source = Path(source)
    if not source.is_dir():
        raise CheckpointError(f"{source} is no folder, expected the one that {layout.source} was downloaded to.")
    peft = read_peft_folder(source)
    if peft.width is None:
        raise CheckpointError(f"The LoRA in {peft.folder} has nothing for the language model: it is of another model.")
    pool = read_pool(_pool(source, tokens)) if layout.has_tokens else None
    if pool is not None and peft.width != pool.shape[1]:
        raise CheckpointError(
            f"The preference tokens are {pool.shape[1]} wide, and the language model of the LoRA is {peft.width}: "
            "choose tokens and LoRA of one release."
        )
    spec = replace(
        layout.spec,
        base=base or layout.spec.base,
        num_tokens=0 if pool is None else len(pool),
        lora=peft.lora,
    )
    return write_new(
        out,
        spec.to_json(),
        _tensors(peft.tensors, pool, peft.width),
        licence=licence or layout.licence,
        training={"prefdisc": {"source": layout.source}},
        force=force,
    )


def _tensors(lora: Mapping[str, Tensor], pool: Tensor | None, width: int) -> dict[str, Any]:
    first = next(iter(lora.values()))
    tokens = first.new_zeros((0, width)).float() if pool is None else pool
    return {"tokens": tokens} | {PREFIX + name: tensor for name, tensor in lora.items()}


def _pool(source: Path, given: str | Path | None) -> Path:
    if given is not None:
        return Path(given)
    files = (path for path in sorted(source.rglob("*")) if path.suffix in POOLS and path.is_file())
    found = [path for path in files if not path.name.startswith(_OTHERS)]
    if len(found) != 1:
        named = ", ".join(str(path.relative_to(source)) for path in found[:5]) or "none"
        raise CheckpointError(
            f"{source} holds {len(found)} files that may be the pool of preference tokens ({named}), expected one "
            f"({' or '.join(POOLS)}): name it with --tokens."
        )
    return found[0]
