"""Codebooks of user tokens: the parts of an embedding add up to logits, and each token is an entry sampled by them.

A taste is a choice among values, and an embedding of a few pairs leaves several of them open. A projection averages
these values; a codebook entry is one of them, and the next image may get another one. All parts contribute to the
logits before an entry is sampled, so that they cannot contradict each other. Our choice; PrefGen projects each part
separately.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

KeysValues = Mapping[str, tuple[Tensor, Tensor]]
"""Block name -> keys and values, each (B, T, width of the block)."""

TEMPERATURE = 0.2
"""Temperature of the Gumbel-softmax: low, so that a token is close to a single entry. The value is our choice."""


def gumbel_softmax_weights(
    logits: Tensor, sizes: Sequence[int], noise: Tensor | None = None, temperature: float = TEMPERATURE
) -> Tensor:
    """Compute the weight of every codebook entry in every user token.

    The entry with the largest sum of logit and Gumbel noise is a sample from the softmax of the logits (Gumbel-max
    trick). A softmax in place of the maximum keeps it differentiable (Jang et al. 2017, arXiv 1611.01144, eq. 2).

    Args:
        logits: (B, E) logits of the entries of all codebooks, one codebook after the other.
        sizes: Number of entries of each of the T codebooks, E in total. Every token has its own codebook.
        noise: (B, E) independent standard Gumbel noise. None takes the most likely entries.
        temperature: 1, without noise, mixes entries by their probabilities.

    Returns:
        (B, T, E), 0 outside a token's own codebook, where the weights sum to 1.
    """
    logits = logits if noise is None else logits + noise.to(logits)
    codebook_of_entry = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes)).to(logits.device)
    in_codebook = codebook_of_entry == torch.arange(len(sizes), device=logits.device)[:, None]  # (T, E)
    return (logits / temperature)[:, None].masked_fill(~in_codebook, -torch.inf).softmax(-1)


@dataclass(frozen=True, eq=False)
class CodebookLogits:
    """A user's logits, with the keys and values of every codebook entry.

    Images sample from it without the adapter's weights.

    Attributes:
        logits: (1, E).
        sizes: Number of entries of each codebook.
        keys_values: Block name -> keys and values (1, E, width) of the entries.
    """

    logits: Tensor
    sizes: tuple[int, ...]
    keys_values: KeysValues

    def sample(self, noise: Tensor) -> KeysValues:
        """Sample keys and values (N, T, width) for N images, from their Gumbel noise (N, E)."""
        return self._mix(gumbel_softmax_weights(self.logits, self.sizes, noise))

    def expected(self) -> KeysValues:
        """Compute the expected keys and values (1, T, width): all entries, mixed by their probabilities."""
        return self._mix(gumbel_softmax_weights(self.logits, self.sizes, temperature=1.0))

    def to(self, device: torch.device | str) -> CodebookLogits:
        """Copy the tensors to a device."""
        keys_values = {block: (k.to(device), v.to(device)) for block, (k, v) in self.keys_values.items()}
        return CodebookLogits(self.logits.to(device), self.sizes, keys_values)

    def _mix(self, weights: Tensor) -> KeysValues:
        # Keys and values are linear in the tokens, so they can be mixed in place of the tokens.
        return {block: (weights.to(k) @ k, weights.to(v) @ v) for block, (k, v) in self.keys_values.items()}


class Codebook(nn.Module):
    """A codebook for each user token, and linear maps from the embedding's parts to its logits.

    Attributes:
        prior: (E,) logits of a user about whom nothing is known.
        to_logits: One linear map to (B, E) for each part. The logits are their sum.
        table: (E, context_dim) entries before normalisation.
    """

    def __init__(self, dims: Mapping[str, int], context_dim: int, sizes: Sequence[int]) -> None:
        super().__init__()
        self.sizes = tuple(sizes)
        entries = sum(sizes)
        self.prior = nn.Parameter(torch.zeros(entries))
        self.to_logits = nn.ModuleDict({part: nn.Linear(dim, entries) for part, dim in dims.items()})
        self.table = nn.Parameter(torch.randn(entries, context_dim))
        self.norm = nn.LayerNorm(context_dim)

    def entries(self) -> Tensor:
        """Return the tokens (E, context_dim) of all entries."""
        return self.norm(self.table)

    def logits(self, parts: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
        """Compute the logits (B, E) from the parts (B, D), each with a weight."""
        return self.prior + sum(weights[part] * self.to_logits[part](x) for part, x in parts.items())

    def forward(self, parts: Mapping[str, Tensor], weights: Mapping[str, float], noise: Tensor | None) -> Tensor:
        """Return the user tokens (B, T, context_dim)."""
        return gumbel_softmax_weights(self.logits(parts, weights), self.sizes, noise) @ self.entries()
