"""What a preference checkpoint's header says about its PrefDisc."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ..errors import CheckpointError
from ..validation import read_config


@dataclass(frozen=True)
class LoraSpec:
    """The low-rank adapter that a checkpoint lays over its base.

    r, alpha: its rank and its scale, which is alpha / r (method.md section 2: 8 and 8). target_modules: as peft takes
    them, the ends of modules' names, or one regular expression over whole names. Its tensors are `prefdisc.lora.` and
    then the names of peft's own `get_peft_model_state_dict`, which are those of an `adapter_model.safetensors`.
    """

    r: int
    alpha: float
    target_modules: tuple[str, ...] | str


@dataclass(frozen=True)
class PrefDiscSpec:
    """How PrefDisc reads: the text around an image, the labels, the pixels, the layers. Everything from the header.

    base, revision: the Idefics2 it was trained on. turn: the chat template of one rated image, with `<image>`,
    `{prompt}` and `{label}`. labels: the tokens of like and dislike, as text. image: what stands for `<image>` before
    tokenising (one `<image>` a perceiver latent, fenced where the base wants it). opening: text before the first turn.
    num_tokens: preference tokens L_p (method.md: 10). sem_layers, core_layers: indices into the hidden states, where 0
    is the embedding and n the n-th layer's output. longest_edge, shortest_edge (pixels), mean, std: preprocessing.
    max_prompt_tokens: prompts are cut there (method.md section 2: 100). lora: None where the base is used as it is.
    disliked_first: a pair of the history is read disliked image first, as published procedures score (default ours:
    liked first).

    A turn without `{prompt}` reads no prompts, whatever it is given.
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
    lora: LoraSpec | None = None
    disliked_first: bool = False

    def to_json(self) -> dict[str, Any]:
        """The spec as JSON values, for the header; without a LoRA, and with the usual order, there is no word of it."""
        unsaid = {"lora": None, "disliked_first": False}
        return {name: value for name, value in asdict(self).items() if name not in unsaid or value != unsaid[name]}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> PrefDiscSpec:
        """Read a spec from the header's JSON. Raises CheckpointError naming a field that is missing, unknown or of
        another type."""
        try:
            lora = values.get("lora")
            return read_config(cls, values if lora is None else values | {"lora": read_config(LoraSpec, lora)})
        except (TypeError, AttributeError) as error:
            raise CheckpointError(
                f"The header's description of PrefDisc does not fit ({error}): "
                "the checkpoint comes from another version of the pack; update the pack or convert the checkpoint."
            ) from error
