"""The base model: a real transformers Idefics2, built from a configuration with its traps taken out, or read from a
base file: weights in a .safetensors file whose header holds the configuration, and `tokenizer.json` beside it."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ...errors import CheckpointError
from ...safefile import fingerprint, read_safefile, write_safefile

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import Idefics2ForConditionalGeneration

KIND = "base model"
TOKENIZER = "tokenizer.json"
_COMPUTED_BY = frozenset(
    f"{before}{name}_implementation{after}"
    for before in ("", "_")
    for name in ("attn", "experts")
    for after in ("", "_internal")
)


@dataclass(frozen=True)
class Base:
    """A base model with its tokenizer. id, revision: what a checkpoint made on it names; revision "" is unknown."""

    model: Idefics2ForConditionalGeneration
    tokenizer: Tokenizer
    id: str
    revision: str


def build_base(config: dict[str, Any]) -> Idefics2ForConditionalGeneration:
    """An untrained Idefics2 of these shapes (`Idefics2Config`'s JSON), float32.

    Two things differ from the class's own initialisation: the perceiver's latents, which would start all equal and
    so never come apart, are drawn from a normal; and attention is full (see `with_full_attention`).
    """
    from transformers import Idefics2Config, Idefics2ForConditionalGeneration

    model = Idefics2ForConditionalGeneration(Idefics2Config(**with_full_attention(config)))
    latents = model.model.connector.perceiver_resampler.latents
    with torch.no_grad():
        latents.normal_(std=latents.shape[-1] ** -0.5)
    return model


def with_full_attention(config: dict[str, Any]) -> dict[str, Any]:
    """`Idefics2Config`'s JSON with sliding-window attention off unless it asks for it: the class's own default, a
    window of 4,096, would hide the preference tokens from long histories. And computed by transformers' own choice: a
    file may name a kernel instead, which would be downloaded and run."""
    config = _without(copy.deepcopy(config), _COMPUTED_BY)
    config.setdefault("text_config", {}).setdefault("sliding_window", None)
    return config


def unfit() -> tuple[type[Exception], ...]:
    """What building a model raises where its configuration, or its weights, are not what they should be."""
    from huggingface_hub.errors import StrictDataclassError

    return (
        AttributeError,
        IndexError,
        KeyError,
        TypeError,
        ValueError,
        ArithmeticError,
        RuntimeError,
        StrictDataclassError,
    )


def _without(value: Any, names: frozenset[str]) -> Any:
    if isinstance(value, dict):
        return {name: _without(inner, names) for name, inner in value.items() if name not in names}
    return [_without(inner, names) for inner in value] if isinstance(value, list) else value


def save_base(
    path: Path, base_id: str, config: dict[str, Any], model: Idefics2ForConditionalGeneration, tokenizer: Tokenizer
) -> str:
    """Write a base file in half precision and its tokenizer; return the revision, taken of the weights."""
    tensors = {name: tensor.half() for name, tensor in model.state_dict().items()}
    revision = fingerprint({"id": base_id, "config": config}, tensors)[:16]
    write_safefile(path, KIND, {"id": base_id, "revision": revision, "config": config}, tensors)
    tokenizer.save(str(path.with_name(TOKENIZER)))
    return revision


def load_base(path: Path, dtype: torch.dtype = torch.float32) -> Base:
    """Read a base file. Raises CheckpointError where it is not one, or its weights do not fit its configuration."""
    file = read_safefile(path, KIND)
    tokenizer = read_tokenizer(path.with_name(TOKENIZER))
    try:
        model = build_base(file.header["config"])
        model.load_state_dict(file.tensors)
        return Base(model.to(dtype).eval(), tokenizer, file.header["id"], file.header["revision"])
    except unfit() as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise CheckpointError(f"{path.name} does not fit its own header ({first}): get the file again.") from error


def read_tokenizer(path: Path) -> Tokenizer:
    """Read a `tokenizer.json`. Raises CheckpointError where it is missing, no JSON, or no tokenizer that the installed
    library knows."""
    import tokenizers

    try:
        text = path.read_text(encoding="utf-8")
        json.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} could not be read ({error}): get the base model's tokenizer again.") from error
    try:
        return tokenizers.Tokenizer.from_str(text)
    except Exception as error:  # the library raises no class of its own
        raise CheckpointError(
            f"{path} is no tokenizer that tokenizers {tokenizers.__version__} reads ({str(error)[:120]}): it may be of "
            "a newer version, update tokenizers and transformers; or get the base model's tokenizer again."
        ) from error
