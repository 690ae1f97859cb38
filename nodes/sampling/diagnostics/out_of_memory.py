"""Explains out-of-memory errors, with advice on how to use less memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import comfy.model_management
import torch

from ....prefgen.errors import ModelError


@contextmanager
def explain_out_of_memory(task: str, advice: str) -> Iterator[None]:
    """Turn out-of-memory errors into a ModelError with advice, and unload all models.

    Args:
        task: The task that needs the memory, for the message.
        advice: A sentence that says what to do.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not _is_out_of_memory(error):
            raise
        comfy.model_management.unload_all_models()
        comfy.model_management.soft_empty_cache()
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:120]
        raise ModelError(f"There is not enough memory for {task} ({reason}). {advice}") from error


def _is_out_of_memory(error: Exception) -> bool:
    # Core's own check accepts every error if torch has no special class for out-of-memory errors.
    types = (MemoryError, torch.OutOfMemoryError)
    return isinstance(error, types) or "out of memory" in str(error) or "can't allocate memory" in str(error)
