"""What a tensor out of somebody's file has to be before anything is computed with it."""

from __future__ import annotations

import torch
from torch import Tensor

TYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)


def oddity(tensor: Tensor) -> str | None:
    """Why a tensor is no plain array of floating-point numbers that the file holds one by one; None where it is."""
    if tensor.layout != torch.strided or tensor.is_nested:
        return "sparse or nested"
    if tensor.is_meta:
        return "without numbers (a meta tensor)"
    if tensor.dtype not in TYPES:
        return f"of the type {str(tensor.dtype).removeprefix('torch.')}"
    if tensor.untyped_storage().nbytes() < tensor.nbytes:
        # Strides of 0: a few bytes in the file, and terabytes once they are written out.
        return f"of shape {tuple(tensor.shape)} with numbers for a part of it only"
    return None
