"""The one place where pickles are read: tensors alone, by torch's restricted unpickler (`weights_only`).

learn-user-pref publishes its preference tokens as a pickled module, `prompt_pool.PromptPool`, whose parameter `prompt`
they are. Unpickled in the ordinary way such a file needs the authors' code, and runs whatever it says. Here the module
becomes an empty object with the module's attributes, and a file that names any other class is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor

from ...errors import CheckpointError
from .plain import oddity

POOL_CLASS = ("prompt_pool", "PromptPool")
"""Module and name of the class that a published pool was pickled from."""

POOL_PARAMETER = "prompt"
_BROKEN = (
    UnpicklingError,
    RuntimeError,
    EOFError,
    OSError,
    ValueError,
    KeyError,
    AttributeError,
    TypeError,
    IndexError,
    OverflowError,
)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """A pickled state dict (`adapter_model.bin`). Raises CheckpointError where it is anything else."""
    found = _load(path)
    if not isinstance(found, Mapping) or not all(isinstance(value, Tensor) for value in found.values()):
        raise CheckpointError(
            f"{path.name} holds {_named(found)}, expected a state dict of tensors: choose the file with the "
            "LoRA's weights."
        )
    return {str(name): tensor for name, tensor in found.items()}


def read_pool(path: Path) -> Tensor:
    """Preference tokens (L_p, D), float32: a pickled pool, its state dict, or a bare tensor. Raises CheckpointError
    where there is no such tensor in the file, one that is no plain tensor of floats, or one with NaN."""
    tokens = _tokens_in(_load(path))
    if tokens is not None and tokens.ndim == 3 and tokens.shape[0] == 1:
        tokens = tokens[0]
    odd = oddity(tokens) if tokens is not None else None
    if tokens is None or odd or tokens.ndim != 2 or 0 in tokens.shape:
        found = "no tensor" if tokens is None else f"a tensor {odd or f'of shape {tuple(tokens.shape)}'}"
        raise CheckpointError(
            f"{path.name} holds {found} where preference tokens were expected, of shape (tokens, width), such as "
            "(10, 4096): choose the published pool of tokens."
        )
    if not torch.isfinite(tokens).all():
        raise CheckpointError(f"{path.name} holds preference tokens with NaN: get the file again.")
    return tokens.detach().float()


def _tokens_in(found: Any) -> Tensor | None:
    if isinstance(found, Tensor):
        return found
    if not isinstance(found, Mapping):
        found = getattr(found, "__dict__", {}).get("_parameters", {})  # a module's
    # A pool inside a larger state dict has a longer name, such as model.prompt_pool.prompt.
    named = [value for name, value in found.items() if str(name).rsplit(".", 1)[-1] == POOL_PARAMETER]
    return named[0] if len(named) == 1 and isinstance(named[0], Tensor) else None


def _load(path: Path) -> Any:
    if not hasattr(torch.serialization, "safe_globals"):
        raise CheckpointError(
            f"{path.name} is a pickle, which torch {torch.__version__} cannot read safely: update it to 2.5 or later."
        )
    module, name = POOL_CLASS
    stand_in = type(name, (), {"__module__": module})
    try:
        with torch.serialization.safe_globals([stand_in]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise CheckpointError(f"{path} could not be read ({error.strerror}): check its name and place.") from error
    except _BROKEN as error:
        raise CheckpointError(
            f"{path.name} is no pickle of tensors alone, and nothing else is unpickled, since it could run any program "
            f"({_first(error)}): get the file again, from where it was published."
        ) from error


def _first(error: Exception) -> str:
    """The sentence of torch's long advice that says what was found."""
    lines = [line.strip() for line in str(error).splitlines() if "Unsupported" in line or "GLOBAL" in line]
    return " ".join((lines or [str(error)])[0].split()[:30])


def _named(found: Any) -> str:
    return f"a mapping with {len(found)} entries" if isinstance(found, Mapping) else f"a {type(found).__name__}"
