"""A base model in a folder as Hugging Face lays them out: config.json, tokenizer.json, and *.safetensors, in shards or
in one. Read from the disk only."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from ..errors import CheckpointError
from .base import TOKENIZER, Base, read_tokenizer, with_full_attention

CONFIG = "config.json"
MODEL_TYPE = "idefics2"


def is_folder(path: Path) -> bool:
    """Whether a base model may be here."""
    return (path / CONFIG).is_file()


def load_folder(path: Path, base_id: str, dtype: torch.dtype = torch.float32) -> Base:
    """Read a base model in `dtype`. Its revision is unknown (""): a folder does not say it.

    Raises CheckpointError where it is no Idefics2, or a file is missing, damaged or of other shapes.
    """
    from safetensors import SafetensorError
    from transformers import Idefics2Config, Idefics2ForConditionalGeneration

    tokenizer = read_tokenizer(path / TOKENIZER)
    try:
        config = json.loads((path / CONFIG).read_text(encoding="utf-8"))
        if config.get("model_type") != MODEL_TYPE:
            raise CheckpointError(
                f"{path} holds a model of the type {config.get('model_type')!r}, expected {MODEL_TYPE!r}: "
                "choose a folder with an Idefics2 model."
            )
        model, found = Idefics2ForConditionalGeneration.from_pretrained(
            path,
            config=Idefics2Config(**with_full_attention(config)),
            dtype=dtype,
            local_files_only=True,
            use_safetensors=True,
            output_loading_info=True,
        )
    except CheckpointError:
        raise
    except (
        OSError,
        ValueError,
        TypeError,
        AttributeError,
        KeyError,
        ImportError,
        RuntimeError,
        SafetensorError,
    ) as error:
        detail = " ".join(str(error).split()[:40])
        raise CheckpointError(f"{path} cannot be read as a base model ({detail}): download its files again.") from error
    # transformers draws at random what a file does not have, and goes on.
    if missing := sorted(found["missing_keys"]):
        raise CheckpointError(
            f"{path} lacks {len(missing)} tensors of its base model (the first is {missing[0]}): download it again."
        )
    return Base(model.eval(), tokenizer, base_id, "")
