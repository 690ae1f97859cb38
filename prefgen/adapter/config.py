"""What an adapter is shaped like, and what it is fed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import NamedTuple

from torch import Tensor

from ..errors import CheckpointError
from .fusion import FUSIONS, WORDS

PARTS = ("sem", "core", "img")
"""The parts of a user embedding, in the order in which their tokens stand side by side."""


MOST_WORDS = 65_536
"""Of an adapter: a header that asks for more is damaged, and would take the memory before that is seen."""


class UserParts(NamedTuple):
    """A batch of users, as training has them: each part (B, D of the part), or None where the adapter has no such part.

    Anything else with these three attributes serves as well, a ``UserEmbedding`` with (D,) parts above all.
    """

    sem: Tensor | None = None
    core: Tensor | None = None
    img: Tensor | None = None


@dataclass(frozen=True)
class AdapterConfig:
    """Shapes of an adapter, kept in the checkpoint's header.

    Attributes:
        sem_dim, core_dim, img_dim: width of each part of the user embedding.
        text_dim: width of the CLIP text space into which the alignment takes `sem`.
        context_dim: width of the UNet's text tokens, and so of the user tokens.
        sem_tokens, core_tokens, img_tokens: user tokens a part; none leaves the part out. Two each is a default ours:
            PrefGen does not say.
        hidden: width of a hidden layer beside each part's linear map into tokens; 0 has none, as PrefGen has none. A
            taste is a choice among values, which no linear map of an embedding makes (default ours).
        blocks: every cross-attention block as (name, width), named as ComfyUI's patches are: ``input.4.0`` is the first
            transformer layer of the UNet's input block 4.
        fusion: how the parts' tokens come together, "concatenation" or "attention" (fusion.py), or "words" (words.py).
        words: for "words", how many there are to choose among at each place, a token a place; a part with tokens votes
            on all of them, and so has as many. Empty otherwise.
        core_aligned: `core` has an alignment of its own, as `sem` has, before its projection (PrefGen leaves it out and
            asks whether it should not).
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
    words: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.fusion not in (*FUSIONS, WORDS):
            raise CheckpointError(
                f"The adapter's fusion is {self.fusion!r}, expected one of {', '.join((*FUSIONS, WORDS))}: update the "
                "pack, or choose another preference checkpoint."
            )
        numbers = all(type(count) is int and count > 0 for count in self.words)
        if (self.fusion == WORDS) != bool(self.words) or not numbers or sum(self.words) > MOST_WORDS:
            raise CheckpointError(
                f"The adapter's fusion is {self.fusion!r} and its words a place are {list(self.words)}, expected "
                f"whole numbers above 0 with {WORDS!r}, {MOST_WORDS} words at most, and none otherwise: get it again."
            )
        if self.words and {self.tokens(part) for part in self.parts} != {len(self.words)}:
            raise CheckpointError(
                f"The adapter's parts have {self.sem_tokens}, {self.core_tokens} and {self.img_tokens} tokens, "
                f"expected {len(self.words)} of each that is used, one a place of words: get the file again."
            )
        if self.hidden < 0 or (self.hidden and self.words):
            raise CheckpointError(
                f"The adapter's hidden width is {self.hidden}, expected 0 (none){'' if self.words else ' or more'}."
            )
        if not self.num_tokens:
            raise CheckpointError("The adapter has no user tokens; at least one of sem, core and img needs some.")
        if not self.blocks:
            raise CheckpointError("The adapter names no cross-attention block of the UNet; it needs one at least.")

    @classmethod
    def from_dict(cls, values: Mapping) -> AdapterConfig:
        """Read back what ``to_dict`` wrote and JSON carried.

        Raises:
            CheckpointError: a field is missing or unknown, or the shapes do not fit each other.
        """
        try:
            blocks = tuple((str(name), int(width)) for name, width in values["blocks"])
            words = tuple(values.get("words", ()))
            return cls(**{**values, "blocks": blocks, "words": words})
        except CheckpointError:
            raise  # a ValueError too, and a sentence already
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"The header's adapter shapes cannot be read ({error}); the fields of AdapterConfig are expected."
            ) from error

    def to_dict(self) -> dict:
        """The config as JSON can hold it."""
        return asdict(self)

    def dim(self, part: str) -> int:
        """Width of one part of the user embedding."""
        return {"sem": self.sem_dim, "core": self.core_dim, "img": self.img_dim}[part]

    def tokens(self, part: str) -> int:
        """User tokens of one part."""
        return {"sem": self.sem_tokens, "core": self.core_tokens, "img": self.img_tokens}[part]

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts that have tokens."""
        return tuple(part for part in PARTS if self.tokens(part))

    @property
    def num_tokens(self) -> int:
        """User tokens altogether."""
        return len(self.words) or sum(self.tokens(part) for part in PARTS)
