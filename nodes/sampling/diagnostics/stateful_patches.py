"""Explains autograd errors that are caused by patches on the MODEL: by their state, or by in-place operations."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ....prefgen.errors import ModelError

STATEFUL_PATCHES = "a patch on the MODEL that keeps values between steps (EasyCache, LazyCache, APG with momentum)"


@contextmanager
def explain_stateful_patches() -> Iterator[None]:
    """Turn autograd's errors about earlier iterations and overwritten values into a ModelError with the cause."""
    try:
        yield
    except RuntimeError as error:
        message = str(error)
        if "through the graph a second time" in message:
            cause = f"The gradient leads back into an earlier iteration, through {STATEFUL_PATCHES}. Remove the patch."
        elif "modified by an inplace operation" in message:
            cause = "A patch on the MODEL overwrites values that the gradient needs. Remove the patches one by one."
        else:
            raise
        raise ModelError(cause) from error
