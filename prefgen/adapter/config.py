"""Shapes of an adapter, and the user embeddings that it takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import NamedTuple, Protocol

from torch import Tensor

from ..errors import CheckpointError
from ..validation import errors_as, require_choice
from .fusion import CODEBOOK, FUSIONS

PARTS = ("sem", "core", "img")
"""Parts of a user embedding, in the order of their user tokens."""

MAX_ENTRIES = 65_536
"""Maximum number of codebook entries. A damaged header that asks for more would exhaust the memory."""


class UserParts(NamedTuple):
    """A batch of users in training: each part is (B, D), or None if the adapter has no such part.

    Any object with these three attributes serves as well, for example a ``UserEmbedding`` with parts (D,).
    """

    sem: Tensor | None = None
    core: Tensor | None = None
    img: Tensor | None = None


class HasParts(Protocol):
    """One user or a batch of users: each part is (D,) or (B, D)."""

    sem: Tensor | None
    core: Tensor | None
    img: Tensor | None


@dataclass(frozen=True)
class AdapterConfig:
    """Shapes of an adapter, stored in the checkpoint's header.

    Attributes:
        sem_dim, core_dim, img_dim: Width of each part of the user embedding.
        text_dim: Width of the pooled CLIP text space to which the alignment maps `sem`.
        context_dim: Width of the UNet's text tokens, and of the user tokens.
        sem_tokens, core_tokens, img_tokens: Number of user tokens of each part. 0 leaves the part out. 2 is our
            default; PrefGen does not say.
        hidden: Width of a hidden layer that is added to each part's linear map to tokens. 0 adds none, as in PrefGen.
        blocks: (name, width) of every cross-attention block. Names follow ComfyUI's patches: ``input.4.0`` is the first
            transformer layer of the UNet's input block 4.
        fusion: How the tokens of the parts are combined: "concatenation" or "attention" (fusion.py), or "codebook"
            (codebook.py).
        core_aligned: Whether `core` has its own alignment before its projection. PrefGen has none, and asks whether it
            would help.
        codebook_sizes: Number of entries of each token's codebook, for the fusion "codebook"; otherwise empty. Parts
            that contribute to the logits have as many tokens as there are codebooks, the others 0.
    """

    sem_dim: int
    core_dim: int
    img_dim: int
    text_dim: int
    context_dim: int
    sem_tokens: int = 2
    core_tokens: int = 2
    img_tokens: int = 2
    hidden: int = 0
    blocks: tuple[tuple[str, int], ...] = ()
    fusion: str = "concatenation"
    core_aligned: bool = False
    codebook_sizes: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        sizes, has_codebook = self.codebook_sizes, self.fusion == CODEBOOK
        require_choice("The adapter's fusion", self.fusion, (*FUSIONS, CODEBOOK), CheckpointError)
        if self.hidden < 0 or (self.hidden and has_codebook):
            raise CheckpointError(f"The adapter's hidden is {self.hidden}; expected {'at least ' * (not sizes)}0.")
        whole = all(type(size) is int and size > 0 for size in sizes)
        if has_codebook != bool(sizes) or not whole or sum(sizes) > MAX_ENTRIES:
            expected = f"whole numbers above 0, at most {MAX_ENTRIES} in total" if has_codebook else "none"
            raise CheckpointError(f"codebook_sizes of {self.fusion!r} is {list(sizes)}; expected {expected}.")
        tokens = {part: self.tokens(part) for part in PARTS}
        if sizes and {tokens[part] for part in self.parts} != {len(sizes)}:
            raise CheckpointError(f"The adapter's tokens are {tokens}; expected {len(sizes)}, one for each codebook.")
        if not self.num_tokens or not self.blocks:
            raise CheckpointError("The adapter has no user tokens or no cross-attention blocks; expected both.")

    @classmethod
    def from_dict(cls, values: Mapping) -> AdapterConfig:
        """Read the config from the JSON values of ``to_dict``.

        Raises:
            CheckpointError: A field is missing or unknown, or the shapes contradict each other.
        """
        advice = "The fields of AdapterConfig are expected."
        invalid = (KeyError, TypeError, ValueError)
        with errors_as(CheckpointError, "The header's adapter shapes cannot be read", advice, invalid):
            blocks = tuple((str(name), int(width)) for name, width in values["blocks"])
            sizes = tuple(values.get("codebook_sizes", ()))
            return cls(**{**values, "blocks": blocks, "codebook_sizes": sizes})

    def to_dict(self) -> dict:
        """Return the config as JSON values."""
        return asdict(self)

    def dim(self, part: str) -> int:
        """Return the width of one part of the user embedding."""
        return {"sem": self.sem_dim, "core": self.core_dim, "img": self.img_dim}[part]

    def tokens(self, part: str) -> int:
        """Return the number of user tokens of one part."""
        return {"sem": self.sem_tokens, "core": self.core_tokens, "img": self.img_tokens}[part]

    @property
    def parts(self) -> tuple[str, ...]:
        """Parts that have tokens."""
        return tuple(part for part in PARTS if self.tokens(part))

    def ordered_blocks(self) -> list[str]:
        """Return the names of the blocks in the UNet's order. An IP-Adapter file has the middle block last."""
        return sorted((name for name, _ in self.blocks), key=lambda name: "imo".index(name[0]))

    @property
    def num_tokens(self) -> int:
        """Total number of user tokens."""
        return len(self.codebook_sizes) or sum(self.tokens(part) for part in PARTS)


def upgrade_adapter(config: Mapping, tensors: Mapping[str, Tensor]) -> tuple[dict, dict[str, Tensor]]:
    """Translate the adapter part of an older checkpoint, whose codebooks were called words.

    Args:
        config: Adapter part of the header.
        tensors: Adapter tensors by name.

    Returns:
        Both with today's names.
    """
    config = {{"words": "codebook_sizes"}.get(field, field): value for field, value in config.items()}
    if config.get("fusion") == "words":
        config["fusion"] = CODEBOOK
    renamed = {"choice.votes.": "codebook.to_logits.", "choice.": "codebook."}
    for old, new in renamed.items():
        tensors = {f"{new}{n.removeprefix(old)}" if n.startswith(old) else n: x for n, x in tensors.items()}
    return config, dict(tensors)
