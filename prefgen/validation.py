"""Shared checks of values that come from outside: graphs, files, requests and command lines."""

from __future__ import annotations

from collections.abc import Iterable
from numbers import Integral, Real
from types import UnionType
from typing import TYPE_CHECKING, Any, get_args, get_origin

from .errors import PrefGenError

if TYPE_CHECKING:
    from torch import Tensor

MOST_SHOWN = 60
"""Characters of a value that a message shows."""


def is_number(value: object) -> bool:
    """Whether a value is a number of any kind, NaN too. Through a link of any type ComfyUI hands on whatever comes."""
    return isinstance(value, Real)


def fits(value: object, kind: Any) -> bool:
    """Whether a value is of a type as a dataclass's field has it: a class, a tuple of such, or one of several. Numbers
    are NumPy's too, and whole ones are also float's, as in JSON; True and False are none."""
    kinds = get_args(kind)
    if isinstance(kind, UnionType):
        return any(fits(value, one) for one in kinds)
    if get_origin(kind) is tuple:
        if not isinstance(value, tuple):
            return False
        each = kinds[:1] * len(value) if kinds[-1] is Ellipsis else kinds
        return len(value) == len(each) and all(map(fits, value, each))
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, {int: Integral, float: Real}.get(kind, kind))


def shown(value: object) -> str:
    """A value for a message: a number in few digits, anything else as Python writes it, cut where it is long."""
    if isinstance(value, str):
        return repr(value) if len(value) <= MOST_SHOWN else f"{value[:MOST_SHOWN]!r}..."
    try:
        text = f"{value:g}" if is_number(value) and not isinstance(value, bool) else repr(value)
    except OverflowError:  # a whole number that no float holds
        text = f"{'-' * (value < 0)}inf"
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}..."


def require_text(text: str, what: str, error: type[PrefGenError] = PrefGenError) -> None:
    """Raise `error`, naming `what` it is, for what is no text, and for text with half a character in it, as JSON can
    spell it."""
    if not isinstance(text, str):
        raise error(f"{what} is {shown(text)}, expected text.")
    try:
        text.encode()
    except UnicodeEncodeError as fault:
        raise error(f"{what} is {shown(text)}, which has half a character: write it anew.") from fault


def not_finite(tensors: Iterable[tuple[str, Tensor]]) -> str | None:
    """The name of the first tensor with NaN or an infinity in it, None where there is none. Those of whole numbers, as
    quantised weights are, have none."""
    return next((name for name, tensor in tensors if not _finite(tensor)), None)


def _finite(tensor: Tensor) -> bool:
    if not tensor.is_floating_point() or not tensor.numel():
        return True
    if tensor.element_size() == 1:  # 8-bit floats have no order in torch
        tensor = tensor.float()
    import torch

    # Both ends are NaN where any value is; over 8 billion values 2 s on one core, where isfinite takes a minute.
    return all(bool(torch.isfinite(end)) for end in torch.aminmax(tensor.detach()))
