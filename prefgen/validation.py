"""Shared checks of values that come from outside: graphs, files, requests and command lines.

Values are checked once, where they enter. Every check raises an error that names the value, what was found and what
was expected.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from numbers import Integral, Real
from types import UnionType
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_origin, get_type_hints

from .errors import PrefGenError, format_value

if TYPE_CHECKING:
    from torch import Tensor

Config = TypeVar("Config")


def is_number(value: object) -> bool:
    """Return whether a value is a real number of any kind, NaN included.

    ComfyUI passes values of any type through links that accept any type.
    """
    return isinstance(value, Real)


def matches_type(value: object, kind: Any) -> bool:
    """Return whether a value has the type of a dataclass field: a class, a tuple type or a union.

    NumPy numbers count as numbers, and whole numbers also match float, as in JSON. Booleans match bool only.
    """
    kinds = get_args(kind)
    if isinstance(kind, UnionType):
        return any(matches_type(value, one) for one in kinds)
    if get_origin(kind) is tuple:
        if not isinstance(value, tuple):
            return False
        item_kinds = kinds[:1] * len(value) if kinds[-1] is Ellipsis else kinds
        return len(value) == len(item_kinds) and all(map(matches_type, value, item_kinds))
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, {int: Integral, float: Real}.get(kind, kind))


def require(condition: object, error: type[PrefGenError], message: str) -> None:
    """Raise `error` with a message unless a condition is true."""
    if not condition:
        raise error(message)


def require_number(
    name: str,
    value: object,
    low: float = -math.inf,
    high: float = math.inf,
    *,
    below: float | None = None,
    integer: bool = False,
    advice: str = "",
    error: type[PrefGenError] = PrefGenError,
) -> None:
    """Raise `error` unless a value is a finite number within bounds.

    Args:
        name: Name of the value in the message.
        low, high: Inclusive bounds. The smallest float, `sys.float_info.min`, stands for above 0.
        below: Exclusive upper bound, in place of `high`.
        integer: Whether the number must be a whole number.
        advice: A sentence that says what to do, appended to the message.
    """
    is_finite = matches_type(value, int if integer else float) and abs(value) <= sys.float_info.max
    if is_finite and low <= value <= high and (below is None or value < below):
        return
    upper = f" below {below:g}" if below is not None else f" at most {high:g}" if math.isfinite(high) else ""
    lower = " above 0" if low == sys.float_info.min else f" at least {low:g}" if math.isfinite(low) else ""
    bounds = " and".join(filter(None, (lower, upper)))
    kind = "whole" if integer else "finite"
    raise error(f"{name} is {format_value(value)}; expected a {kind} number{bounds}.{advice and ' ' + advice}")


def require_choice(
    name: str, value: object, choices: Collection[str], error: type[PrefGenError] = PrefGenError
) -> None:
    """Raise `error` unless a value is one of the choices."""
    require(value in choices, error, f"{name} is {format_value(value)}; expected one of {', '.join(choices)}.")


def require_text(text: object, name: str, error: type[PrefGenError] = PrefGenError) -> None:
    """Raise `error` unless a value is text that UTF-8 can encode: JSON can spell half of a surrogate pair."""
    require(isinstance(text, str), error, f"{name} is {format_value(text)}; expected text.")
    with errors_as(error, f"{name} contains an unpaired surrogate", "Write it again.", UnicodeEncodeError):
        text.encode()


@contextmanager
def errors_as(
    error: type[PrefGenError], what: str, advice: str = "", kinds: type[Exception] | tuple = OSError
) -> Iterator[None]:
    """Raise `error` in place of exceptions of some kinds, with the message "<what> (<reason>). <advice>"."""
    try:
        yield
    except kinds as fault:
        if isinstance(fault, PrefGenError) or type(fault).__name__ == "OutOfMemoryError":  # torch's, of several classes
            raise
        reason = " ".join(str(getattr(fault, "strerror", None) or fault or type(fault).__name__).split()[:40])
        raise error(f"{what} ({reason}).{advice and ' ' + advice}") from fault


@contextmanager
def requiring_package(name: str, purpose: str, error: type[PrefGenError] = PrefGenError) -> Iterator[None]:
    """Raise `error` in place of an ImportError of the block. The message names the package to install."""
    try:
        yield
    except ImportError as fault:
        raise error(f"{purpose} needs the package {name}. Run pip install {name}.") from fault


def read_config(cls: type[Config], values: Mapping[str, Any]) -> Config:
    """Build a dataclass from JSON values, with lists as tuples.

    Raises:
        TypeError: A field is unknown, missing or of another type. The message names the field.
    """
    unknown = sorted(set(values) - {field.name for field in fields(cls)})
    if unknown:
        raise TypeError(f"unknown field {unknown[0]!r}")
    config = cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})
    for name, kind in get_type_hints(cls).items():
        if not matches_type(getattr(config, name), kind):
            raise TypeError(f"{name} is {format_value(getattr(config, name))}")
    return config


def first_nonfinite(tensors: Iterable[tuple[str, Tensor]]) -> str | None:
    """Return the name of the first tensor that contains NaN or infinity, or None.

    Integer tensors, such as quantised weights, are always finite.
    """
    return next((name for name, tensor in tensors if not _is_finite(tensor)), None)


def _is_finite(tensor: Tensor) -> bool:
    import torch

    if not tensor.is_floating_point() or not tensor.numel():
        return True
    if tensor.element_size() == 1:  # torch cannot order 8-bit floats
        tensor = tensor.float()
    # Both extremes are NaN when any value is. This takes 2 s for 8 billion values on one core; isfinite takes a minute.
    return all(bool(torch.isfinite(end)) for end in torch.aminmax(tensor.detach()))
