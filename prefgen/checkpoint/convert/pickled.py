"""Reads pickled tensors with torch's restricted unpickler (`weights_only`). Nothing else in PrefGen reads pickles.

learn-user-pref publishes its preference tokens as a pickled module, `prompt_pool.PromptPool`, with the parameter
`prompt`. Ordinary unpickling needs the authors' code, and runs any code that the file names. Here the module becomes an
empty object with the module's attributes, and files that name any other class are refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor

from ...errors import CheckpointError
from .tensor_check import tensor_defect

POOL_CLASS = ("prompt_pool", "PromptPool")
"""Module and name of the class of a published pool."""

POOL_PARAMETER = "prompt"
_UNPICKLING_ERRORS = (
    *(UnpicklingError, RuntimeError, EOFError, OSError, ValueError),
    *(KeyError, AttributeError, TypeError, IndexError, OverflowError),
)


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Read a pickled state dict (`adapter_model.bin`). Raises CheckpointError if the file holds anything else."""
    content = _load(path)
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise CheckpointError(f"{path.name} holds a {type(content).__name__}; expected a state dict of tensors.")
    return {str(name): tensor for name, tensor in content.items()}


def read_pool(path: Path) -> Tensor:
    """Read preference tokens from a pickled pool, its state dict, or a bare tensor.

    Returns:
        (L_p, D), float32.

    Raises:
        CheckpointError: The file holds no such tensor, or it is not a finite floating-point tensor.
    """
    tokens = _find_tokens(_load(path))
    defect = "no tensor" if tokens is None else tensor_defect(tokens)
    if defect is None:
        tokens = tokens[0] if tokens.ndim == 3 and tokens.shape[0] == 1 else tokens
        if tokens.ndim != 2 or 0 in tokens.shape:
            defect = f"a tensor of shape {tuple(tokens.shape)}"
        elif not torch.isfinite(tokens).all():
            defect = "a tensor with NaN or infinity"
    if defect:
        raise CheckpointError(f"{path.name} holds {defect}; expected preference tokens of shape (tokens, width).")
    return tokens.detach().float()


def _find_tokens(content: Any) -> Tensor | None:
    if isinstance(content, Tensor):
        return content
    if not isinstance(content, Mapping):
        content = getattr(content, "__dict__", {}).get("_parameters", {})  # a module's parameters
    # In a larger state dict a pool has a longer name, such as model.prompt_pool.prompt.
    pools = [value for name, value in content.items() if str(name).rsplit(".", 1)[-1] == POOL_PARAMETER]
    return pools[0] if len(pools) == 1 and isinstance(pools[0], Tensor) else None


def _load(path: Path) -> Any:
    if not hasattr(torch.serialization, "safe_globals"):
        raise CheckpointError(f"{path.name} is a pickle, which needs torch 2.5 or later; found {torch.__version__}.")
    module, name = POOL_CLASS
    placeholder = type(name, (), {"__module__": module})
    try:
        with torch.serialization.safe_globals([placeholder]), path.open("rb") as file:
            return torch.load(file, map_location="cpu", weights_only=True)
    except _UNPICKLING_ERRORS as error:
        # torch explains at length; the lines with these words say what was found.
        lines = [line.strip() for line in str(error).splitlines() if "Unsupported" in line or "GLOBAL" in line]
        detail = " ".join((lines or [str(error)])[0].split()[:30])
        advice = "Other pickles are refused, because they can run any program. Download the file again."
        raise CheckpointError(f"{path} could not be read as a pickle of tensors ({detail}). {advice}") from error
