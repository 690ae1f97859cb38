"""The configuration of PrefDisc, as stored in a preference checkpoint's header."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

from ..errors import CheckpointError
from ..validation import errors_as, read_config

_OPTIONAL = ("lora", "disliked_first", "whole_text", "open_space", "square", "rounded")
"""Fields that headers of earlier versions do not have."""


@dataclass(frozen=True)
class LoraSpec:
    """The LoRA of a checkpoint.

    Its tensors are named `prefdisc.lora.` plus the names of peft's `get_peft_model_state_dict`, as in an
    `adapter_model.safetensors`.

    Attributes:
        r: Rank (paper index section 2: 8).
        alpha: Scale; the update is multiplied by alpha / r (paper index section 2: 8).
        target_modules: Ends of module names, or one regular expression for whole names, as peft takes them.
    """

    r: int
    alpha: float
    target_modules: tuple[str, ...] | str


@dataclass(frozen=True)
class PrefDiscSpec:
    """Configuration of PrefDisc's input: base model, chat template, labels, preprocessing and layers.

    Attributes:
        base: Id of the Idefics2 that the checkpoint was trained on.
        revision: Its revision.
        turn: Chat turn of one rated image, with `<image>`, `{prompt}` and `{label}`. Prompts are ignored by a turn
            without `{prompt}`.
        image: Text that replaces `<image>`: one image token for each perceiver latent, between the base's fences.
        labels: The like and dislike labels, one token each.
        num_tokens: Number of preference tokens L_p (paper index section 2: 10).
        sem_layers, core_layers: Indices of hidden states. 0 is the embedding, n the output of the n-th layer.
        longest_edge, shortest_edge: Bounds of an image's size in pixels.
        opening: Text before the first turn.
        mean, std: Normalisation of pixels.
        max_prompt_tokens: Length at which prompts are cut (paper index section 2: 100).
        lora: The LoRA, or None if the base is used unchanged.
        disliked_first: Whether a history reads the disliked image of a pair first, as published models score. Our
            default is liked first.
        whole_text: Whether all turns are tokenised as one text, as published models do. Checkpoints of earlier versions
            tokenise each turn alone, which changes the first token of every turn but the first.
        open_space: Whether the turn of an image to be scored ends with the space before its label. Published scoring
            has it; published training has not.
        square: Side in pixels of the square to which images are resized before anything else, as published training
            does. 0 keeps their shape.
        rounded: Whether pixels are rounded to 8 bits after resizing, as Pillow does in the published code. Gradients
            pass through the rounding unchanged.
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
    whole_text: bool = False
    open_space: bool = False
    square: int = 0
    rounded: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return the spec as JSON values. `_OPTIONAL` fields are left out at their defaults."""
        defaults = {field.name: field.default for field in fields(self) if field.name in _OPTIONAL}
        return {name: value for name, value in asdict(self).items() if name not in defaults or value != defaults[name]}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> PrefDiscSpec:
        """Read a spec from a header's JSON values.

        Raises:
            CheckpointError: A field is missing, unknown or of the wrong type.
        """
        problem = "The checkpoint's PrefDisc configuration does not fit this version of PrefGen"
        advice = "Update the pack, or convert the checkpoint again."
        with errors_as(CheckpointError, problem, advice, (TypeError, AttributeError)):
            lora = values.get("lora")
            return read_config(cls, values if lora is None else values | {"lora": read_config(LoraSpec, lora)})
