"""Checks that a tensor from a downloaded file is a plain array of floating-point numbers."""

from __future__ import annotations

import torch
from torch import Tensor

DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)


def tensor_defect(tensor: Tensor) -> str | None:
    """Return why a tensor is not a dense floating-point array that the file stores in full, or None if it is."""
    if tensor.layout != torch.strided or tensor.is_nested:
        return "a tensor in a sparse or nested layout"
    if tensor.is_meta:
        return "a tensor without values (a meta tensor)"
    if tensor.dtype not in DTYPES:
        return f"a tensor of type {str(tensor.dtype).removeprefix('torch.')}"
    if tensor.untyped_storage().nbytes() < tensor.nbytes:
        # Strides of 0: a few bytes in the file that expand to terabytes.
        return f"a tensor of shape {tuple(tensor.shape)} with values for a part of it only"
    return None
