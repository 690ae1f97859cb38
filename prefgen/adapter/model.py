"""The adapter's weights: the parts' way into user tokens, projected or chosen, and every block's K and V projection."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol

import torch
from torch import Tensor, nn

from ..alignment import Alignment, AlignmentConfig
from ..errors import EmbeddingError
from ..mlp import Perceptron
from .codebook import KeysValues, Spoken, WordChoice
from .config import PARTS, AdapterConfig
from .fusion import FUSIONS


class HasParts(Protocol):
    """One user or a batch of users: a part is (D,) or (B, D)."""

    sem: Tensor | None
    core: Tensor | None
    img: Tensor | None


class TokenProjection(nn.Module):
    """A vector (B, D) to `tokens` tokens (B, tokens, C), each normalised.

    A single linear map is what PrefGen gives `core`, and IP-Adapter its image embedding; the norm keeps the three parts
    at one scale, whatever the size of their embeddings (default ours; PrefGen gives none). hidden: where it is not 0, a
    perceptron with a layer of that width adds to the linear map, nothing at first (default ours; IP-Adapter's FaceID
    projects by one alone).
    """

    def __init__(self, in_dim: int, context_dim: int, tokens: int, hidden: int = 0) -> None:
        super().__init__()
        self.tokens = tokens
        self.linear = nn.Linear(in_dim, tokens * context_dim)
        self.bend = None
        if hidden:
            self.bend = Perceptron(in_dim, hidden, tokens * context_dim)
            nn.init.zeros_(self.bend.output.weight)
            nn.init.zeros_(self.bend.output.bias)
        self.norm = nn.LayerNorm(context_dim)

    def forward(self, x: Tensor) -> Tensor:
        made = self.linear(x) if self.bend is None else self.linear(x) + self.bend(x)
        return self.norm(made.unflatten(-1, (self.tokens, -1)))


class BlockProjection(nn.Module):
    """User keys and values of one cross-attention block.

    No bias, so that zeroed tokens add nothing to the image; values start at zero, so that an untrained adapter adds
    nothing either (no bias as in IP-Adapter; the zero start is a default ours).
    """

    def __init__(self, context_dim: int, width: int) -> None:
        super().__init__()
        self.to_k = nn.Linear(context_dim, width, bias=False)
        self.to_v = nn.Linear(context_dim, width, bias=False)
        nn.init.zeros_(self.to_v.weight)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        return self.to_k(tokens), self.to_v(tokens)


class PreferenceAdapter(nn.Module):
    """User embedding -> user tokens -> keys and values of every block (method.md section 3).

    Attributes:
        config: the shapes.
        alignment: the MLP that takes `sem` into CLIP text space; None where the adapter has no `sem` tokens.
        core_alignment: the same for `core`, in the adapter's own part of a checkpoint; None where it is not aligned.
        projections: each part's ``TokenProjection``; none where the parts vote for words.
        fusion: how the parts' tokens come together.
        choice: the parts' votes and the words; None where tokens are projected.
        blocks: each block's ``BlockProjection``, the dots of its name written as underscores.
    """

    alignment: Alignment | None
    core_alignment: Alignment | None
    choice: WordChoice | None

    def __init__(self, config: AdapterConfig, alignment: AlignmentConfig | None = None) -> None:
        super().__init__()
        self.config = config
        alignment = alignment or AlignmentConfig(config.sem_dim, config.text_dim)
        self.alignment = Alignment(alignment) if config.sem_tokens else None
        own = replace(alignment, sem_dim=config.core_dim, text_dim=config.text_dim)
        self.core_alignment = Alignment(own) if config.core_tokens and config.core_aligned else None
        aligned = ("sem", "core") if config.core_aligned else ("sem",)
        in_dims = {part: config.text_dim if part in aligned else config.dim(part) for part in config.parts}
        if config.words:
            self.projections, self.fusion = nn.ModuleDict(), nn.Identity()
            self.choice = WordChoice(in_dims, config.context_dim, config.words)
        else:
            self.projections = nn.ModuleDict(
                {
                    part: TokenProjection(dim, config.context_dim, config.tokens(part), config.hidden)
                    for part, dim in in_dims.items()
                }
            )
            self.fusion, self.choice = FUSIONS[config.fusion](config.context_dim), None
        self.blocks = nn.ModuleDict(
            {_module_name(name): BlockProjection(config.context_dim, width) for name, width in config.blocks}
        )

    def for_users(
        self, users: HasParts, strengths: Mapping[str, float] | None = None, noise: Tensor | None = None
    ) -> KeysValues:
        """Keys and values (B, T, width) of every block for users (B): ``user_tokens``, then ``keys_values``."""
        return self.keys_values(self.user_tokens(users, strengths, noise), strengths)

    def user_tokens(
        self, users: HasParts, strengths: Mapping[str, float] | None = None, noise: Tensor | None = None
    ) -> Tensor:
        """The tokens (B, T, context_dim) of all parts side by side, or their words; a single user makes a batch of one.

        strengths, noise: of the votes for words, see ``spoken`` and ``choose``; projected tokens have no use for them.

        Raises:
            EmbeddingError: a part that the adapter uses is absent, or of another width.
        """
        parts = {part: self._part(users, part) for part in self.config.parts}
        if self.choice is not None:
            return self.choice(parts, self._shares(strengths or {}), noise)
        return self.fusion(torch.cat([self.projections[part](x) for part, x in parts.items()], dim=1))

    def spoken(self, users: HasParts, strengths: Mapping[str, float] | None = None) -> Spoken:
        """What pictures of a user draw their words' keys and values from; the adapter has to be one of words.

        The loudest part's strength is how loudly words are spoken, and the others' votes count in proportion to it.
        """
        parts = {part: self._part(users, part) for part in self.config.parts}
        votes = self.choice.counted(parts, self._shares(strengths or {}))
        return Spoken(votes, self.config.words, self.keys_values(self.choice.words()[None], strengths))

    def _loudest(self, strengths: Mapping[str, float]) -> float:
        return max(float(strengths.get(part, 1.0)) for part in self.config.parts)

    def _shares(self, strengths: Mapping[str, float]) -> dict[str, float]:
        loudest = self._loudest(strengths) or 1.0
        return {part: float(strengths.get(part, 1.0)) / loudest for part in self.config.parts}

    def _part(self, users: HasParts, part: str) -> Tensor:
        x = getattr(users, part)
        expected = self.config.dim(part)
        if x is None:
            raise EmbeddingError(
                f"The user embedding has no {part} part and this adapter needs it (width {expected}): "
                "encode the history again with this preference checkpoint."
            )
        if x.shape[-1] != expected:
            raise EmbeddingError(
                f"The user embedding's {part} part is {x.shape[-1]} wide and this adapter expects {expected}: "
                "encode the history again with this preference checkpoint."
            )
        x = x.reshape(-1, expected).to(next(self.blocks.parameters()))
        alignment = {"sem": self.alignment, "core": self.core_alignment}.get(part)
        return alignment(x) if alignment is not None else x

    def keys_values(self, tokens: Tensor, strengths: Mapping[str, float] | None = None) -> KeysValues:
        """Keys and values (B, T, width) of every block, by block name.

        Args:
            tokens: (B, T, context_dim) of ``user_tokens``.
            strengths: a factor for each part's values, 1 where none is given. Only the values are scaled: the branch is
                then linear in every strength, and a part turned off leaves the others' share of attention as it was.
                Words are no part's own: all have the loudest part's.
        """
        scale = self._value_scale(strengths or {}, tokens)
        pairs = {name: self.blocks[_module_name(name)](tokens) for name, _ in self.config.blocks}
        return pairs if scale is None else {name: (k, v * scale) for name, (k, v) in pairs.items()}

    def _value_scale(self, strengths: Mapping[str, float], like: Tensor) -> Tensor | None:
        if self.config.words:
            factors = [self._loudest(strengths)]
        else:
            factors = [float(strengths.get(part, 1.0)) for part in PARTS for _ in range(self.config.tokens(part))]
        if all(factor == 1.0 for factor in factors):
            return None
        return torch.tensor(factors, dtype=like.dtype, device=like.device)[:, None]


def _module_name(block: str) -> str:
    # module names may hold no dots
    return block.replace(".", "_")
