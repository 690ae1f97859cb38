"""A perceptron behind a norm: what takes `sem` into text space, and what bends an embedding's way into user tokens."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn


class Perceptron(nn.Module):
    """(..., in_dim) -> (..., out_dim) by `layers` linear layers with GELU between them (default ours).

    Hidden states of different layers and checkpoints differ in scale, so it starts from a normalised one.
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
