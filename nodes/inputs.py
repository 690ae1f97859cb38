"""Checks the values of a node's inputs against its schema, and joins lists of images.

ComfyUI checks only values that are written in the prompt, and only their range. Linked values can have any type and
size, and ComfyUI accepts any literal value for an input that needs a link.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any

import torch
from comfy.clip_vision import ClipVisionModel
from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io

from ..prefgen.checkpoint.preference_model import PreferenceModel
from ..prefgen.embedding import UserEmbedding
from ..prefgen.errors import PrefGenError
from ..prefgen.history import History
from ..prefgen.validation import format_value, require, require_choice, require_number, require_text
from .sockets import EmbeddingType, HistoryType, PreferenceModelType


def is_conditioning(value: Any) -> bool:
    """Return whether a value is a CONDITIONING: a list of [embedding (1, T, D), options] with at least one entry."""
    return isinstance(value, list) and bool(value) and all(map(is_conditioning_entry, value))


def is_conditioning_entry(entry: Any) -> bool:
    """Return whether a value is [embedding, options]. ComfyUI allows None as the embedding."""
    pair = entry if isinstance(entry, list | tuple) and len(entry) == 2 else (None, None)
    return isinstance(pair[0], torch.Tensor | None) and isinstance(pair[1], Mapping)


SOCKETS: dict[str, tuple[Callable[[Any], bool], str]] = {
    PreferenceModelType.io_type: (lambda value: isinstance(value, PreferenceModel), "Load Preference Model"),
    HistoryType.io_type: (lambda value: isinstance(value, History), "Load User History"),
    EmbeddingType.io_type: (lambda value: isinstance(value, UserEmbedding), "Encode User History"),
    io.Model.io_type: (lambda value: isinstance(value, ModelPatcher), "Load Checkpoint"),
    io.Vae.io_type: (lambda value: hasattr(value, "first_stage_model"), "Load Checkpoint"),
    io.ClipVision.io_type: (lambda value: isinstance(value, ClipVisionModel), "Load CLIP Vision"),
    io.Conditioning.io_type: (is_conditioning, "CLIP Text Encode"),
    io.Latent.io_type: (lambda value: isinstance(value, Mapping) and "samples" in value, "Empty Latent Image"),
    io.Image.io_type: (lambda value: isinstance(value, torch.Tensor), "Load Image"),
    io.Mask.io_type: (lambda value: isinstance(value, torch.Tensor), "Load Image"),
    io.Sigmas.io_type: (lambda value: isinstance(value, torch.Tensor), "BasicScheduler"),
}
"""For each socket type, a predicate that accepts valid values, and the name of a node that outputs such a value."""

LOWEST_SEED = -(2**63)
"""The lowest seed that torch accepts. Widgets begin at 0, but other packs pass negative seeds."""


def check_inputs(execute: Callable) -> Callable:
    """Decorate a node's `execute`: check the type and range of every input of its schema.

    A node with `is_input_list` receives its images as a list of batches, and a single value for every other input.
    The wrapped function raises PrefGenError for a value that the schema does not allow.
    """

    @wraps(execute)
    def checked(cls: type[io.ComfyNode], **values: Any) -> io.NodeOutput:
        specs = {spec.id: spec for spec in cls.define_schema().inputs}  # the options of a combo can change between runs
        if not cls.ACCEPT_ALL_INPUTS:  # ComfyUI passes on unknown inputs if they are linked
            values = {name: value for name, value in values.items() if name in specs}
        lists = {name for name in specs if cls.INPUT_IS_LIST and specs[name].get_io_type() == io.Image.io_type}
        if cls.INPUT_IS_LIST:
            values = {name: items if name in lists else single_value(name, items) for name, items in values.items()}
        values = drop_unset_options(specs, values)
        require_complete(specs, values)
        for name in specs.keys() & values.keys():
            for value in values[name] if name in lists else [values[name]]:
                require_valid(specs[name], value)
        return execute(cls, **values)

    return checked


def drop_unset_options(specs: Mapping[str, io.Input], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values without optional inputs that are None, so that their defaults apply."""
    optional = {name for name, spec in specs.items() if spec.optional}
    return {name: value for name, value in values.items() if value is not None or name not in optional}


def require_complete(specs: Mapping[str, io.Input], values: Mapping[str, Any]) -> None:
    """Raise PrefGenError unless every required input has a value.

    ComfyUI passes no inputs at all if the only link of a node carries an empty list.
    """
    missing = [name for name, spec in specs.items() if not spec.optional and name not in values]
    require(not missing, PrefGenError, f"{', '.join(missing)} has no value; expected one. Connect a value.")


def single_value(name: str, values: Sequence[Any]) -> Any:
    """Return the only value of a list. Raises PrefGenError if the list is empty or contains different values."""
    distinct = [value for value in values if value is not values[0] and not is_equal_plain_value(value, values[0])]
    single = len(values) > 0 and not distinct
    require(single, PrefGenError, f"{name} has {len(values)} values; expected one. Connect a single value, not a list.")
    return values[0]


def is_equal_plain_value(value: Any, other: Any) -> bool:
    """Return whether two values are equal texts or numbers. Other values, such as tensors, may not be comparable."""
    return isinstance(value, (str, int, float)) and value == other


def require_valid(spec: io.Input, value: Any) -> None:
    """Raise PrefGenError unless a schema's input allows a value. Names of users are checked where they are used."""
    kind = spec.get_io_type()
    if kind in SOCKETS:
        accepts, source = SOCKETS[kind]
        expected = f"expected the output of a node such as {source}"
        require(accepts(value), PrefGenError, f"{spec.id} is {format_value(value)}; {expected}. Connect one.")
    elif isinstance(spec, io.Int.Input) and spec.control_after_generate:
        require_number(spec.id, value, LOWEST_SEED, spec.max, integer=True)
    elif isinstance(spec, io.Int.Input | io.Float.Input):
        require_number(spec.id, value, spec.min, spec.max, integer=isinstance(spec, io.Int.Input))
    elif isinstance(spec, io.Boolean.Input):
        require(isinstance(value, bool), PrefGenError, f"{spec.id} is {format_value(value)}; expected true or false.")
    elif isinstance(spec, io.Combo.Input) and spec.id != "user":
        require_choice(spec.id, value, spec.options)
    else:
        require_text(value, spec.id)
