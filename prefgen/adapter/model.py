"""The adapter's weights: from a user embedding to user tokens, and from these to keys and values of every block."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from ..alignment import Alignment, AlignmentConfig
from ..errors import EmbeddingError
from ..mlp import MLP
from .codebook import Codebook, CodebookLogits, KeysValues
from .config import PARTS, AdapterConfig, HasParts
from .fusion import FUSIONS

ENCODE_AGAIN = "Encode the history again with this preference checkpoint."


class TokenProjection(nn.Module):
    """Projects a part (B, D) to `tokens` user tokens (B, tokens, C), each normalised.

    A single linear map, as PrefGen uses for `core` and IP-Adapter for its image embedding. The norm brings the three
    parts to one scale (our choice; PrefGen has none). With `hidden`, an MLP that starts at zero is added to the linear
    map (our choice; IP-Adapter's FaceID uses an MLP alone).
    """

    def __init__(self, in_dim: int, context_dim: int, tokens: int, hidden: int = 0) -> None:
        super().__init__()
        self.tokens = tokens
        self.linear = nn.Linear(in_dim, tokens * context_dim)
        self.bend = None  # the MLP; checkpoints have its weights under this name
        if hidden:
            self.bend = MLP(in_dim, hidden, tokens * context_dim)
            nn.init.zeros_(self.bend.output.weight)
            nn.init.zeros_(self.bend.output.bias)
        self.norm = nn.LayerNorm(context_dim)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.linear(x) if self.bend is None else self.linear(x) + self.bend(x)
        return self.norm(tokens.unflatten(-1, (self.tokens, -1)))


class BlockProjection(nn.Module):
    """Projects user tokens to keys and values of one cross-attention block.

    Has no bias, as in IP-Adapter, so that tokens of zero leave the image unchanged. Values start at zero, so that an
    untrained adapter does, too (our choice).
    """

    def __init__(self, context_dim: int, width: int) -> None:
        super().__init__()
        self.to_k = nn.Linear(context_dim, width, bias=False)
        self.to_v = nn.Linear(context_dim, width, bias=False)
        nn.init.zeros_(self.to_v.weight)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        return self.to_k(tokens), self.to_v(tokens)


class PreferenceAdapter(nn.Module):
    """User embedding -> user tokens -> keys and values of every block (docs/paper-index.md, section 3).

    Attributes:
        config: Shapes.
        alignment: MLP that maps `sem` to CLIP text space. None if the adapter has no `sem` tokens.
        core_alignment: The same for `core`, stored with the adapter. None if `core` is not aligned.
        projections: ``TokenProjection`` of each part. Empty with codebooks.
        fusion: Module that combines the projected tokens.
        codebook: Codebooks of the user tokens. None if tokens are projected.
        blocks: ``BlockProjection`` of each block, with underscores in place of the dots in its name.
    """

    alignment: Alignment | None
    core_alignment: Alignment | None
    codebook: Codebook | None

    def __init__(self, config: AdapterConfig, alignment: AlignmentConfig | None = None) -> None:
        super().__init__()
        self.config = config
        alignment = alignment or AlignmentConfig(config.sem_dim, config.text_dim)
        self.alignment = Alignment(alignment) if config.sem_tokens else None
        core_alignment = replace(alignment, sem_dim=config.core_dim, text_dim=config.text_dim)
        self.core_alignment = Alignment(core_alignment) if config.core_tokens and config.core_aligned else None
        aligned = ("sem", "core") if config.core_aligned else ("sem",)
        in_dims = {part: config.text_dim if part in aligned else config.dim(part) for part in config.parts}
        if config.codebook_sizes:
            self.projections, self.fusion = nn.ModuleDict(), nn.Identity()
            self.codebook = Codebook(in_dims, config.context_dim, config.codebook_sizes)
        else:
            self.projections = nn.ModuleDict(
                {
                    part: TokenProjection(dim, config.context_dim, config.tokens(part), config.hidden)
                    for part, dim in in_dims.items()
                }
            )
            self.fusion, self.codebook = FUSIONS[config.fusion](config.context_dim), None
        self.blocks = nn.ModuleDict(
            {_module_name(name): BlockProjection(config.context_dim, width) for name, width in config.blocks}
        )

    def for_users(
        self,
        users: HasParts,
        strengths: Mapping[str, float] | None = None,
        noise: Tensor | None = None,
        block_weights: Mapping[str, float] | None = None,
    ) -> KeysValues:
        """Compute the keys and values (B, T, width) of every block for B users.

        See ``user_tokens`` and ``keys_values`` for the arguments.
        """
        return self.keys_values(self.user_tokens(users, strengths, noise), strengths, block_weights)

    def user_tokens(
        self, users: HasParts, strengths: Mapping[str, float] | None = None, noise: Tensor | None = None
    ) -> Tensor:
        """Compute the user tokens (B, T, context_dim).

        Args:
            users: A batch of users, or one user, who makes a batch of 1.
            strengths: Strength of each part, 1 by default. Only the logits of codebooks depend on it; projected tokens
                are scaled in ``keys_values``.
            noise: (B, E) Gumbel noise for codebooks.

        Raises:
            EmbeddingError: A part that the adapter uses is absent or of another width.
        """
        parts = {part: self._part(users, part) for part in self.config.parts}
        if self.codebook is not None:
            return self.codebook(parts, self._relative_strengths(strengths or {}), noise)
        return self.fusion(torch.cat([self.projections[part](x) for part, x in parts.items()], dim=1))

    def codebook_logits(
        self,
        users: HasParts,
        strengths: Mapping[str, float] | None = None,
        block_weights: Mapping[str, float] | None = None,
    ) -> CodebookLogits:
        """Compute a user's logits and the keys and values of all codebook entries. Needs an adapter with codebooks.

        Each part contributes to the logits in proportion to its strength; the largest strength scales the values.
        """
        parts = {part: self._part(users, part) for part in self.config.parts}
        logits = self.codebook.logits(parts, self._relative_strengths(strengths or {}))
        keys_values = self.keys_values(self.codebook.entries()[None], strengths, block_weights)
        return CodebookLogits(logits, self.config.codebook_sizes, keys_values)

    def negative_keys_values(
        self, users: HasParts, strengths: Mapping[str, float], block_weights: Mapping[str, float]
    ) -> KeysValues:
        """Compute the keys and values for the negative prompt, away from which guidance leads.

        With codebooks, these are the expected keys and values, without the prior: guidance should not lead away from
        what all users like.
        """
        if self.codebook is None:
            return self.for_users(users, strengths, block_weights=block_weights)
        codebook = self.codebook_logits(users, strengths, block_weights)
        return replace(codebook, logits=codebook.logits - self.codebook.prior).expected()

    def keys_values(
        self,
        tokens: Tensor,
        strengths: Mapping[str, float] | None = None,
        block_weights: Mapping[str, float] | None = None,
    ) -> KeysValues:
        """Compute the keys and values (B, T, width) of every block.

        This is the only place where values are scaled. Keys are not: the attention is then linear in every strength,
        and a part of strength 0 does not change the attention weights of the others.

        Args:
            tokens: (B, T, context_dim) from ``user_tokens``.
            strengths: Factor of each part's values, 1 by default. With codebooks, tokens belong to no part, and all are
                scaled by the largest strength.
            block_weights: Factor of each block's values; blocks of weight 0 are left out. None is 1 for all blocks.
        """
        scale = self._value_scale(strengths or {}, tokens)
        keys_values = {}
        for name, _ in self.config.blocks:
            if block_weights is None or block_weights[name]:
                k, v = self.blocks[_module_name(name)](tokens)
                v = v if scale is None else v * scale
                keys_values[name] = (k, v if block_weights is None else v * block_weights[name])
        return keys_values

    def _value_scale(self, strengths: Mapping[str, float], like: Tensor) -> Tensor | None:
        if self.codebook is not None:
            factors = [self._max_strength(strengths)]
        else:
            factors = [float(strengths.get(part, 1.0)) for part in PARTS for _ in range(self.config.tokens(part))]
        if all(factor == 1.0 for factor in factors):
            return None
        return torch.tensor(factors, dtype=like.dtype, device=like.device)[:, None]

    def _max_strength(self, strengths: Mapping[str, float]) -> float:
        return max(float(strengths.get(part, 1.0)) for part in self.config.parts)

    def _relative_strengths(self, strengths: Mapping[str, float]) -> dict[str, float]:
        largest = self._max_strength(strengths) or 1.0
        return {part: float(strengths.get(part, 1.0)) / largest for part in self.config.parts}

    def _part(self, users: HasParts, part: str) -> Tensor:
        """Return one part of the users as (B, D), aligned if the adapter aligns it."""
        x, expected = getattr(users, part), self.config.dim(part)
        if x is None or x.shape[-1] != expected:
            actual = "missing" if x is None else f"{x.shape[-1]} wide"
            raise EmbeddingError(f"The {part} part is {actual}; expected a width of {expected}. {ENCODE_AGAIN}")
        x = x.reshape(-1, expected).to(next(self.blocks.parameters()))
        alignment = {"sem": self.alignment, "core": self.core_alignment}.get(part)
        return alignment(x) if alignment is not None else x


def _module_name(block: str) -> str:
    # Module names cannot contain dots.
    return block.replace(".", "_")
