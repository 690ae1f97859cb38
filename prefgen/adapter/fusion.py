"""How the parts' tokens come together: side by side, or after attending to each other.

PrefGen sets sem, core and img side by side ("concatenation") and finds that better than attention-based fusion, of
which it gives no detail. Ours lets every token attend to all of them and adds what it finds: as many tokens as before,
each still its part's, so that everything else, the parts' strengths too, is the same in both. "words" is a third way,
which has a file of its own.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

HEADS = (8, 4, 2, 1)


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
        found = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return tokens + self.to_out(found)


WORDS = "words"
"""The fusion in which the parts vote (words.py)."""

FUSIONS = {"concatenation": lambda context_dim: nn.Identity(), "attention": AttentionFusion}
"""By name: what is made, given the tokens' width."""
