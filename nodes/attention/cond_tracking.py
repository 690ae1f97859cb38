"""Which prompt each of the UNet's rows belongs to, and which part of the image it paints.

Core tells a patch the place of a row's prompt in the call that evaluates it (`cond_or_uncond`). That is 0 for the
positive prompt as long as the usual guider calls; DualCFGGuider begins with the negative one, and self-attention
guidance and DualModelGuider call with it alone. So the guider is asked what it calls each of its prompts, which are
recognised by their uuids.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrappersMP
from torch import Tensor

POSITIVE, NEGATIVE = "positive", "negative"
"""What core's guiders call their prompts; some have others beside, which no user has a part in."""
USUAL = (POSITIVE, NEGATIVE)
"""The prompts of a call, in their order, where nobody knows better."""

_SIDES, _ROWS = "prefgen_sides", "prefgen_rows"

Area = tuple[int, int, int, int]
"""Height, width, top and left of the part of the image that a prompt is for, in cells of the latent."""


@dataclass(frozen=True)
class _Rows:
    """What one call of the UNet is about. sides: the name of each of its prompts. areas: of prompts that have one.
    latent: height and width of the whole image's."""

    sides: tuple[str | None, ...]
    areas: Mapping[UUID, Area]
    latent: tuple[int, int]


def know_rows(model: ModelPatcher) -> None:
    """Let patches of this MODEL ask `sides_of`, `areas_of` and `latent_of`."""
    for kind, wrapper in ((WrappersMP.PREDICT_NOISE, _tell_sides), (WrappersMP.CALC_COND_BATCH, _tell_rows)):
        if not model.get_wrappers(kind, _ROWS):
            model.add_wrapper_with_key(kind, _ROWS, wrapper)


def sides_of(options: Mapping) -> list[str | None]:
    """Whose prompt each part of the batch has, from a block's transformer_options: one of `USUAL`, or neither."""
    told: _Rows | None = options.get(_ROWS)
    sides = told.sides if told else USUAL
    return [sides[place] if place < len(sides) else None for place in options.get("cond_or_uncond") or [0]]


def areas_of(options: Mapping) -> list[Area | None]:
    """The area that each part of the batch paints; None is the whole image."""
    told: _Rows | None = options.get(_ROWS)
    return [told and told.areas.get(uuid) for uuid in options.get("uuids") or [None]]


def latent_of(options: Mapping) -> tuple[int, int]:
    """Height and width of the whole image's latent."""
    told: _Rows | None = options.get(_ROWS)
    return told.latent if told else tuple(options["original_shape"][-2:])


def side_of(prompt: Sequence[Mapping] | None, sides: Mapping[str, frozenset[UUID]]) -> str | None:
    """The name that the guider has for a prompt, a list of conds; None where it has none.

    A prompt may hold a few more conds in the guider than in the call, since core gives each side the areas of the
    other: of several names that fit, the one with the fewest is right.
    """
    own = {cond.get("uuid") for cond in prompt or ()}
    fitting = [name for name, known in sides.items() if own and own <= known]
    return min(fitting, key=lambda name: len(sides[name]), default=None)


def _tell_sides(executor: Callable, x: Tensor, timestep: Tensor, model_options: dict, seed: int | None) -> Tensor:
    prompts = executor.class_obj.conds.items()
    sides = {name: frozenset(cond.get("uuid") for cond in conds or ()) for name, conds in prompts}
    return executor(x, timestep, _with(model_options, _SIDES, sides), seed)


def _tell_rows(executor: Callable, model, conds: list, x: Tensor, timestep: Tensor, model_options: dict) -> list:
    known = model_options.get("transformer_options", {}).get(_SIDES, {})
    sides = tuple(side_of(prompt, known) for prompt in conds)
    latent = tuple(x.shape[-2:])
    areas = {c.get("uuid"): _within(c["area"], latent) for prompt in conds for c in prompt or () if c.get("area")}
    rows = _Rows(sides if any(sides) else USUAL, areas, latent)
    return executor(model, conds, x, timestep, _with(model_options, _ROWS, rows))


def _within(area: Sequence[int], latent: tuple[int, int]) -> Area:
    """As core cuts it: what is beyond the edge is left out."""
    (height, width), (top, left) = area[: len(area) // 2][-2:], area[len(area) // 2 :][-2:]
    return min(height, latent[0] - top), min(width, latent[1] - left), top, left


def _with(model_options: dict, key: str, value: object) -> dict:
    options = model_options.get("transformer_options", {})
    return model_options | {"transformer_options": options | {key: value}}
