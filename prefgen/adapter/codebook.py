"""Words in the place of token projections: the parts vote, each place draws a word, and the words are the tokens.

A taste is a choice among values, and an embedding of a few pairs leaves several of them open. A projection means all of
them at once and paints something between them; a word is one of them, another in another picture. All parts vote before
the word is drawn, so that they cannot contradict each other. Default ours; PrefGen projects each part by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

KeysValues = Mapping[str, tuple[Tensor, Tensor]]

TEMPERATURE = 0.2
"""Of the Gumbel-softmax: low, so that a place's token is nearly one word (default ours)."""


def choose(
    votes: Tensor, sizes: Sequence[int], noise: Tensor | None = None, temperature: float = TEMPERATURE
) -> Tensor:
    """The share of every word in every place: (B, W) -> (B, P, W), a word's own place alone counts.

    The votes are log-odds of a place's words. With noise (B, W), independent and standard Gumbel, the likeliest word of
    a place is one drawn with the odds that the votes give (Gumbel-max); without, it is the likeliest of all. It is
    taken softly, so that a gradient passes, and near ties stay such (Jang et al. 2017, arXiv 1611.01144, eq. 2). At a
    temperature of 1 and without noise, words are mixed by their odds.
    """
    votes = votes if noise is None else votes + noise.to(votes)
    place_of = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes)).to(votes.device)  # of every word
    own = place_of == torch.arange(len(sizes), device=votes.device)[:, None]  # (P, W)
    return (votes / temperature)[:, None].masked_fill(~own, -torch.inf).softmax(-1)


def gumbel_noise(pictures: Iterable[tuple[int, int]], words: int) -> Tensor:
    """Standard Gumbel noise (N, W), the same whenever a picture is painted again. pictures: each one's (seed, number in
    its batch)."""
    rows = [np.random.default_rng(picture).gumbel(size=words) for picture in pictures]
    return torch.from_numpy(np.stack(rows)).float()


@dataclass(frozen=True, eq=False)
class Spoken:
    """One user's votes (1, W) and every word's keys and values (1, W, width) by block: pictures draw from them, and no
    weight is needed any more. sizes: words a place."""

    votes: Tensor
    sizes: tuple[int, ...]
    vocabulary: KeysValues

    def drawn(self, noise: Tensor) -> KeysValues:
        """Keys and values (N, P, width) of every block, of N pictures that draw by their noise (N, W)."""
        return self._mixed(choose(self.votes, self.sizes, noise))

    def meant(self) -> KeysValues:
        """The same (1, P, width) of all that may be drawn, mixed by its odds: faint where the votes are undecided."""
        return self._mixed(choose(self.votes, self.sizes, temperature=1.0))

    def _mixed(self, chosen: Tensor) -> KeysValues:
        # keys and values are linear in the tokens, so that mixed words have the mixed keys and values
        return {block: tuple(chosen.to(half) @ half for half in pair) for block, pair in self.vocabulary.items()}


class WordChoice(nn.Module):
    """Each part's embedding to votes, and a table of words.

    Attributes:
        prior: (W,), what people like who are not known.
        votes: each part's linear map to votes (B, W), added up.
        table: (W, C), the words; a token is a word, normalised.
    """

    def __init__(self, dims: Mapping[str, int], context_dim: int, sizes: Sequence[int]) -> None:
        super().__init__()
        self.sizes = tuple(sizes)
        count = sum(sizes)
        self.prior = nn.Parameter(torch.zeros(count))
        self.votes = nn.ModuleDict({part: nn.Linear(dim, count) for part, dim in dims.items()})
        self.table = nn.Parameter(torch.randn(count, context_dim))
        self.norm = nn.LayerNorm(context_dim)

    def words(self) -> Tensor:
        """Every word's token: (W, C)."""
        return self.norm(self.table)

    def counted(self, parts: Mapping[str, Tensor], shares: Mapping[str, float]) -> Tensor:
        """All votes (B, W) of parts (B, D), each times its share."""
        return self.prior + sum(shares[part] * self.votes[part](x) for part, x in parts.items())

    def forward(self, parts: Mapping[str, Tensor], shares: Mapping[str, float], noise: Tensor | None) -> Tensor:
        return choose(self.counted(parts, shares), self.sizes, noise) @ self.words()
