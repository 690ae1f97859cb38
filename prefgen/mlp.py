"""A multilayer perceptron behind a LayerNorm, used by the alignment and by the adapter's token projections."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn


class MLP(nn.Module):
    """LayerNorm, then `layers` linear layers with GELU between them: (..., in_dim) -> (..., out_dim) (our choice).

    The norm is needed because hidden states of different layers and checkpoints differ in scale.
    """

    def __init__(self, in_dim: int, hidden_dim: int, out_dim: int, layers: int = 2) -> None:
        super().__init__()
        widths = [in_dim] + [hidden_dim] * (layers - 1)
        self.norm = nn.LayerNorm(in_dim)
        self.hidden = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        self.output = nn.Linear(widths[-1], out_dim)

    def forward(self, x: Tensor) -> Tensor:
        state = self.norm(x)
        for layer in self.hidden:
            state = nn.functional.gelu(layer(state))
        return self.output(state)
