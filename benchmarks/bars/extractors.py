"""Functions that get a value from a command's result. Each returns an extractor: result -> Measurement."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.bars.criterion import NORMAL, Answer, Measurement, MissingError, NotMeasuredError

Extractor = Callable[[Answer], Measurement]


def at(path: str) -> Extractor:
    """Get the number or boolean at a path of keys, such as "added.answer". It has no known error."""
    return lambda answer: Measurement(_number(_lookup(answer, path), path))


def count(path: str) -> Extractor:
    """Get the length of a list."""
    return lambda answer: Measurement(float(len(_lookup(answer, path))))


def interval(path: str) -> Extractor:
    """Get an estimate in the format of train.evaluate.statistics: value, low, high."""

    def read(answer: Answer) -> Measurement:
        parts = (_number(_lookup(answer, f"{path}.{name}"), f"{path}.{name}") for name in ("value", "low", "high"))
        return Measurement(*parts)

    return read


def estimate(key: str) -> Extractor:
    """Get a top-level value, with a normal interval from its standard error under `stderr`."""

    def read(answer: Answer) -> Measurement:
        value, error = _number(_lookup(answer, key), key), _error(answer, key)
        return Measurement(value, value - NORMAL * error, value + NORMAL * error)

    return read


def difference(first: str, second: str) -> Extractor:
    """Subtract two top-level values.

    Their errors are treated as independent although both are measured on the same agents, so the interval is wider than
    the paired one if the values are positively correlated.
    """

    def read(answer: Answer) -> Measurement:
        value = _number(_lookup(answer, first), first) - _number(_lookup(answer, second), second)
        error = (_error(answer, first) ** 2 + _error(answer, second) ** 2) ** 0.5
        return Measurement(value, value - NORMAL * error, value + NORMAL * error)

    return read


def minus(first: Extractor, second: Extractor) -> Extractor:
    """Subtract two values. The difference has no known error."""
    return lambda answer: Measurement(first(answer).value - second(answer).value)


def ratio(first: Extractor, second: Extractor) -> Extractor:
    """Divide two values. The ratio has no known error."""

    def read(answer: Answer) -> Measurement:
        divisor = second(answer).value
        if not divisor:
            raise MissingError("the divisor is 0")
        return Measurement(first(answer).value / divisor)

    return read


def row_value(path: str, what: str, **where: Any) -> Extractor:
    """Get a value from the first row with the given entries in a list of rows."""

    def read(answer: Answer) -> Measurement:
        rows = _lookup(answer, path)
        matches = [r for r in rows if all(r.get(key) == value for key, value in where.items())]
        keys = ", ".join(f"{key} {value}" for key, value in where.items())
        if not matches:
            raise MissingError(f"no row in {path!r} with {keys}")
        return Measurement(_number(_lookup(matches[0], what), f"{what} of {keys}"))

    return read


def on_accelerator(name_part: str) -> Extractor:
    """Get the roofline ratio of the first full_size row with `name_part` in its name, if measured on an accelerator."""

    def read(answer: Answer) -> Measurement:
        import torch

        matches = [row for row in _lookup(answer, "rows") if name_part in row.get("row", "")]
        if not matches:
            raise MissingError(f"no row in 'rows' has a name with {name_part!r}")
        device = _lookup(answer, "device")
        if not torch.cuda.is_available() or device != torch.cuda.get_device_name():
            raise NotMeasuredError(f"{device} is not an accelerator")
        if "not_run" in matches[0]:
            raise NotMeasuredError(f"{matches[0]['row']}: {matches[0]['not_run']}")
        return Measurement(_number(_lookup(matches[0], "ratio"), "ratio"))

    return read


def _error(answer: Answer, key: str) -> float:
    return _number(_lookup(answer, f"stderr.{key}"), f"stderr.{key}")


def _lookup(answer: Any, path: str) -> Any:
    for key in path.split("."):
        if not isinstance(answer, dict) or key not in answer:
            raise MissingError(f"the result has no {path!r}")
        answer = answer[key]
    if answer is None:
        raise NotMeasuredError(f"the result has null for {path!r}")
    return answer


def _number(value: Any, path: str) -> float:
    if not isinstance(value, int | float):
        raise MissingError(f"{path!r} is {value!r}; expected a number")
    return float(value)
