"""Tells attention patches which cond each row of the UNet's batch belongs to, and which area of the image it covers.

Core gives a patch only the index of a row's cond in the call (`cond_or_uncond`). Index 0 is the positive cond when
CFGGuider calls; but DualCFGGuider begins with the negative cond, and self-attention guidance and DualModelGuider call
with the negative cond alone. Therefore the guider's cond names are recorded, and each cond's name is found by its uuid.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrappersMP
from torch import Tensor

POSITIVE, NEGATIVE = "positive", "negative"
"""Names of conds in core's guiders. Some guiders have further conds, which get no user tokens."""
DEFAULT_ORDER = (POSITIVE, NEGATIVE)
"""Assumed names of a call's conds if the guider is unknown."""

_NAMES, _CALL = "prefgen_cond_names", "prefgen_cond_call"

Area = tuple[int, int, int, int]
"""Height, width, top and left of the area that a cond covers, in cells of the latent."""


@dataclass(frozen=True)
class _CondCall:
    """A call of the model that evaluates conds.

    Attributes:
        names: Name of each cond; None if the guider has no name for it.
        areas: Area of each cond that has one.
        latent_size: Height and width of the whole image's latent.
    """

    names: tuple[str | None, ...]
    areas: Mapping[UUID, Area]
    latent_size: tuple[int, int]


def track_conds(model: ModelPatcher) -> None:
    """Make `cond_names`, `cond_areas` and `latent_size` available to the MODEL's patches, in place."""
    for kind, wrapper in (
        (WrappersMP.PREDICT_NOISE, _record_cond_names),
        (WrappersMP.CALC_COND_BATCH, _record_cond_call),
    ):
        if not model.get_wrappers(kind, _CALL):
            model.add_wrapper_with_key(kind, _CALL, wrapper)


def cond_names(options: Mapping) -> list[str | None]:
    """Return the name of each cond in the batch: POSITIVE, NEGATIVE, another name that the guider uses, or None.

    Args:
        options: A block's transformer_options.
    """
    call: _CondCall | None = options.get(_CALL)
    names = call.names if call else DEFAULT_ORDER
    return [names[index] if index < len(names) else None for index in options.get("cond_or_uncond") or [0]]


def cond_areas(options: Mapping) -> list[Area | None]:
    """Return the area of each cond in the batch; None means the whole image."""
    call: _CondCall | None = options.get(_CALL)
    return [call and call.areas.get(uuid) for uuid in options.get("uuids") or [None]]


def latent_size(options: Mapping) -> tuple[int, int]:
    """Return the height and width of the whole image's latent."""
    call: _CondCall | None = options.get(_CALL)
    return call.latent_size if call else tuple(options["original_shape"][-2:])


def find_cond_name(cond: Sequence[Mapping] | None, uuids_by_name: Mapping[str, frozenset[UUID]]) -> str | None:
    """Return the guider's name for a cond (a list of dicts, each with a uuid), or None if the guider has none.

    A cond can have more entries in the guider than in the call, because core adds the areas of the positive cond to the
    negative one and vice versa. If several names match, the name with the fewest entries is the correct one.
    """
    uuids = {entry.get("uuid") for entry in cond or ()}
    matches = [name for name, known in uuids_by_name.items() if uuids and uuids <= known]
    return min(matches, key=lambda name: len(uuids_by_name[name]), default=None)


def _record_cond_names(
    executor: Callable, x: Tensor, timestep: Tensor, model_options: dict, seed: int | None
) -> Tensor:
    """Wrap PREDICT_NOISE: record the uuids of each of the guider's conds by name."""
    conds = executor.class_obj.conds.items()
    uuids = {name: frozenset(entry.get("uuid") for entry in cond or ()) for name, cond in conds}
    return executor(x, timestep, _with_option(model_options, _NAMES, uuids), seed)


def _record_cond_call(executor: Callable, model, conds: list, x: Tensor, timestep: Tensor, model_options: dict) -> list:
    """Wrap CALC_COND_BATCH: record names and areas of the conds that the UNet evaluates next."""
    uuids_by_name = model_options.get("transformer_options", {}).get(_NAMES, {})
    names = tuple(find_cond_name(cond, uuids_by_name) for cond in conds)
    size = tuple(x.shape[-2:])
    areas = {e.get("uuid"): _crop(e["area"], size) for cond in conds for e in cond or () if e.get("area")}
    call = _CondCall(names if any(names) else DEFAULT_ORDER, areas, size)
    return executor(model, conds, x, timestep, _with_option(model_options, _CALL, call))


def _crop(area: Sequence[int], size: tuple[int, int]) -> Area:
    """Crop an area to the latent, as ComfyUI does."""
    (height, width), (top, left) = area[: len(area) // 2][-2:], area[len(area) // 2 :][-2:]
    return min(height, size[0] - top), min(width, size[1] - left), top, left


def _with_option(model_options: dict, key: str, value: object) -> dict:
    options = model_options.get("transformer_options", {})
    return model_options | {"transformer_options": options | {key: value}}
