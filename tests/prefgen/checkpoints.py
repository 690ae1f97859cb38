"""A whole tiny preference model on disk: base, tokenizer and checkpoint, with random weights."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import torch

from prefgen.adapter import AdapterConfig, PreferenceAdapter
from prefgen.alignment import Alignment, AlignmentConfig
from prefgen.checkpoint.file import write_part
from prefgen.prefdisc.base.base_model import save_base
from tests.prefgen import tiny

TEXT_DIM = 12
ADAPTER = AdapterConfig(tiny.WIDTH, tiny.WIDTH, 6, TEXT_DIM, 10, blocks=(("input.4.0", 8), ("middle.0.0", 8)))
ALIGNMENT = AlignmentConfig(tiny.WIDTH, TEXT_DIM, hidden_dim=16)


def write_base(bases: Path, base_id: str = tiny.SPEC.base) -> str:
    """Write the tiny base model into a folder of bases; return its revision."""
    model = tiny.prefdisc()
    return save_base(bases / "tiny" / "base.safetensors", base_id, tiny.CONFIG, model.base, tiny.tokenizer())


def write_checkpoint(path: Path, revision: str, parts: tuple[str, ...] = ("prefdisc", "alignment", "adapter"), **spec):
    """Write a checkpoint of these parts for the tiny base; `spec` changes fields of its PrefDiscSpec."""
    torch.manual_seed(1)
    alignment, adapter = Alignment(ALIGNMENT), PreferenceAdapter(ADAPTER, ALIGNMENT)
    tensors = {
        "prefdisc": {"tokens": tiny.prefdisc().tokens},
        "alignment": alignment.state_dict(),
        "adapter": {k: v for k, v in adapter.state_dict().items() if not k.startswith("alignment.")},
    }
    headers = {
        "prefdisc": replace(tiny.SPEC, revision=revision, **spec).to_json(),
        "alignment": asdict(ALIGNMENT),
        "adapter": ADAPTER.to_dict(),
    }
    for part in parts:
        write_part(path, part, headers[part], tensors[part], licence="CC0-1.0")
    return path
