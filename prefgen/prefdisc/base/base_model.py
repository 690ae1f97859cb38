"""Builds Idefics2 base models, and reads and writes base files: weights with the configuration in the header.

A base file lies beside its `tokenizer.json`.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ...errors import CheckpointError
from ...safefile import fingerprint, read_safefile, write_safefile
from ...validation import errors_as

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import Idefics2ForConditionalGeneration

KIND = "base model"
TOKENIZER = "tokenizer.json"
MIN_TRANSFORMERS = "4.56"
"""ComfyUI accepts older versions, whose attention and cache interfaces PrefDisc cannot use."""

_IMPLEMENTATION_KEYS = frozenset(
    f"{before}{name}_implementation{after}"
    for before in ("", "_")
    for name in ("attn", "experts")
    for after in ("", "_internal")
)


@dataclass(frozen=True)
class Base:
    """A base model with its tokenizer.

    Attributes:
        model: The Idefics2.
        tokenizer: Its tokenizer.
        id: Id of the base, which checkpoints refer to.
        revision: Revision of the base, "" if unknown.
    """

    model: Idefics2ForConditionalGeneration
    tokenizer: Tokenizer
    id: str
    revision: str


def build_base(config: dict[str, Any]) -> Idefics2ForConditionalGeneration:
    """Build an untrained Idefics2 in float32.

    Differs from transformers' initialisation in two ways. The perceiver's latents are drawn from a normal
    distribution, because equal latents would stay equal in training. Attention is full (see `with_full_attention`).

    Args:
        config: JSON values of an `Idefics2Config`.
    """
    from transformers import Idefics2Config, Idefics2ForConditionalGeneration

    model = Idefics2ForConditionalGeneration(Idefics2Config(**with_full_attention(config)))
    latents = model.model.connector.perceiver_resampler.latents
    with torch.no_grad():
        latents.normal_(std=latents.shape[-1] ** -0.5)
    return model


def with_full_attention(config: dict[str, Any]) -> dict[str, Any]:
    """Return an `Idefics2Config`'s JSON values with full attention by transformers' default implementation.

    The class's default is a sliding window of 4,096 tokens, which would hide the preference tokens from long
    histories. It stays only if the configuration sets it. Implementation names are removed, because transformers would
    download and run a kernel that is named there.
    """
    config = _remove_keys(copy.deepcopy(config), _IMPLEMENTATION_KEYS)
    config.setdefault("text_config", {}).setdefault("sliding_window", None)
    return config


def _remove_keys(value: Any, names: frozenset[str]) -> Any:
    if isinstance(value, dict):
        return {name: _remove_keys(inner, names) for name, inner in value.items() if name not in names}
    return [_remove_keys(inner, names) for inner in value] if isinstance(value, list) else value


def require_transformers() -> None:
    """Raise CheckpointError if transformers is too old for PrefDisc."""
    import transformers
    from packaging.version import Version

    if Version(transformers.__version__) < Version(MIN_TRANSFORMERS):
        version = transformers.__version__
        raise CheckpointError(f"PrefDisc needs transformers {MIN_TRANSFORMERS} or later; found {version}. Update it.")


@contextmanager
def model_errors(subject: str, advice: str = "Download it again.") -> Iterator[None]:
    """Turn the errors of building a model, whose configuration or weights may be wrong, into a CheckpointError.

    Args:
        subject: What cannot be loaded, the beginning of the message.
        advice: A sentence that says what to do.

    Raises:
        CheckpointError: Building failed, or transformers is too old. Out-of-memory errors pass unchanged.
    """
    require_transformers()
    # An older transformers may come with a huggingface_hub that lacks this error.
    from huggingface_hub.errors import StrictDataclassError
    from safetensors import SafetensorError

    errors = (
        *(AttributeError, IndexError, KeyError, TypeError, ValueError, ArithmeticError, RuntimeError),
        *(OSError, ImportError, SafetensorError, StrictDataclassError),
    )
    with errors_as(CheckpointError, f"{subject} cannot be loaded as a base model", advice, errors):
        yield


def save_base(
    path: Path, base_id: str, config: dict[str, Any], model: Idefics2ForConditionalGeneration, tokenizer: Tokenizer
) -> str:
    """Write a base file in half precision, and its tokenizer beside it.

    Returns:
        The revision, a hash of configuration and weights.
    """
    tensors = {name: tensor.half() for name, tensor in model.state_dict().items()}
    revision = fingerprint({"id": base_id, "config": config}, tensors)[:16]
    write_safefile(path, KIND, {"id": base_id, "revision": revision, "config": config}, tensors)
    tokenizer.save(str(path.with_name(TOKENIZER)))
    return revision


def load_base_file(path: Path, dtype: torch.dtype = torch.float32) -> Base:
    """Load a base file. Raises CheckpointError if it is damaged, or its weights do not match its configuration."""
    file = read_safefile(path, KIND)
    tokenizer = read_tokenizer(path.with_name(TOKENIZER))
    with model_errors(path.name):
        model = build_base(file.header["config"])
        model.load_state_dict(file.tensors)
        return Base(model.to(dtype).eval(), tokenizer, file.header["id"], file.header["revision"])


def read_tokenizer(path: Path) -> Tokenizer:
    """Read a `tokenizer.json`. Raises CheckpointError if it is missing, damaged, or needs a newer tokenizers."""
    import tokenizers

    problem = f"{path} cannot be read by tokenizers {tokenizers.__version__}"
    advice = "Download the base model's tokenizer again, or update tokenizers and transformers."
    with errors_as(CheckpointError, problem, advice, Exception):  # tokenizers raises bare Exceptions
        return tokenizers.Tokenizer.from_str(path.read_text(encoding="utf-8"))
