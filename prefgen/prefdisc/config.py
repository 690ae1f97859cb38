"""What a preference checkpoint's header says about its PrefDisc."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

from ..errors import CheckpointError


@dataclass(frozen=True)
class PrefDiscSpec:
    """How PrefDisc reads: the text around an image, the labels, the pixels, the layers. Everything from the header.

    base, revision: the Idefics2 it was trained on. turn: the chat template of one rated image, with `<image>`,
    `{prompt}` and `{label}`. labels: the tokens of like and dislike, as text. image: what stands for `<image>` before
    tokenising (one `<image>` a perceiver latent, fenced where the base wants it). opening: text before the first turn.
    num_tokens: preference tokens L_p (METHOD.md: 10). sem_layers, core_layers: indices into the hidden states, where 0
    is the embedding and n the n-th layer's output. longest_edge, shortest_edge (pixels), mean, std: preprocessing.
    max_prompt_tokens: prompts are cut there (METHOD.md section 2: 100).
    """

    base: str
    revision: str
    turn: str
    image: str
    labels: tuple[str, str]
    num_tokens: int
    sem_layers: tuple[int, ...]
    core_layers: tuple[int, ...]
    longest_edge: int
    shortest_edge: int
    opening: str = ""
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)
    max_prompt_tokens: int = 100

    def to_json(self) -> dict[str, Any]:
        """The spec as JSON values, for the header."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> PrefDiscSpec:
        """Read a spec from the header's JSON. Raises CheckpointError naming a field that is missing or unknown."""
        known = {field.name for field in fields(cls)}
        unknown = sorted(set(values) - known)
        try:
            if unknown:
                raise TypeError(f"unknown field {unknown[0]!r}")
            return cls(**{key: tuple(v) if isinstance(v, list) else v for key, v in values.items()})
        except TypeError as error:
            raise CheckpointError(
                f"The header's description of PrefDisc does not fit ({error}): "
                "the checkpoint comes from another version of the pack; update the pack or convert the checkpoint."
            ) from error
