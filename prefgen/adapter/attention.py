"""The decoupled branch: the image's queries attend to the user's keys and values, apart from the text's."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def decoupled_attention(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    """Attn(Q, K_u, V_u) of METHOD section 3; the caller adds it to the text's, before the output projection.

    Args:
        q: (B, N, heads * d), the block's own queries.
        k, v: (B or 1, T, heads * d), the user's keys and values.

    Returns:
        (B, N, heads * d).
    """
    batch, queries, width = q.shape
    q, k, v = (x.view(x.shape[0], x.shape[1], heads, width // heads).transpose(1, 2) for x in (q, k, v))
    out = F.scaled_dot_product_attention(q, k.expand(batch, -1, -1, -1), v.expand(batch, -1, -1, -1))
    return out.transpose(1, 2).reshape(batch, queries, width)
