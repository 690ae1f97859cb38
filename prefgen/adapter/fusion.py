"""Fusion of the tokens of an embedding's parts: concatenation, or self-attention over all of them.

PrefGen concatenates the tokens of sem, core and img, and finds this better than attention-based fusion, which it does
not describe. In ours, every token attends to all tokens and adds the result. The number of tokens and the part that
each belongs to stay the same. A third way, codebooks, is in ``codebook.py``.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

HEADS = (8, 4, 2, 1)
"""Numbers of attention heads to try, the first that divides the width."""


class AttentionFusion(nn.Module):
    """Self-attention over the user tokens (B, T, C), added to them. It starts as concatenation: its output is zero."""

    def __init__(self, context_dim: int) -> None:
        super().__init__()
        self.heads = next(heads for heads in HEADS if context_dim % heads == 0)
        self.norm = nn.LayerNorm(context_dim)
        self.to_qkv = nn.Linear(context_dim, 3 * context_dim, bias=False)
        self.to_out = nn.Linear(context_dim, context_dim)
        nn.init.zeros_(self.to_out.weight)
        nn.init.zeros_(self.to_out.bias)

    def forward(self, tokens: Tensor) -> Tensor:
        # (B, T, 3 C) -> q, k, v, each (B, heads, T, C / heads)
        q, k, v = self.to_qkv(self.norm(tokens)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        attention = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return tokens + self.to_out(attention)


CODEBOOK = "codebook"
"""Name of the fusion that samples tokens from codebooks (codebook.py)."""

FUSIONS = {"concatenation": lambda context_dim: nn.Identity(), "attention": AttentionFusion}
"""Fusions of projected tokens: name -> function that makes the module for a width of tokens."""
