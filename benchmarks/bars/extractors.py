"""Reads values out of a command's answer. Each function gives a reader: an answer -> Measurement, or MissingError."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.bars.criterion import NORMAL, Answer, Measurement, MissingError, NotMeasuredError

Reader = Callable[[Answer], Measurement]


def at(path: str) -> Reader:
    """The number, or truth value, at a path of keys ("added.answer"), its error unknown."""
    return lambda answer: Measurement(_number(_found(answer, path), path))


def count(path: str) -> Reader:
    """How many things a list has."""
    return lambda answer: Measurement(float(len(_found(answer, path))))


def interval(path: str) -> Reader:
    """An estimate as train.evaluate.statistics writes it: value, low, high."""

    def read(answer: Answer) -> Measurement:
        parts = (_number(_found(answer, f"{path}.{name}"), f"{path}.{name}") for name in ("value", "low", "high"))
        return Measurement(*parts)

    return read


def estimate(key: str) -> Reader:
    """A value on top of the answer whose standard error is under `stderr`: the interval is the normal one."""

    def read(answer: Answer) -> Measurement:
        value, error = _number(_found(answer, key), key), _error(answer, key)
        return Measurement(value, value - NORMAL * error, value + NORMAL * error)

    return read


def difference(first: str, second: str) -> Reader:
    """first - second, two such values. Their errors are added as if they had nothing to do with each other, although
    both are of the same agents: a wider interval than the paired one where they go together."""

    def read(answer: Answer) -> Measurement:
        value = _number(_found(answer, first), first) - _number(_found(answer, second), second)
        error = (_error(answer, first) ** 2 + _error(answer, second) ** 2) ** 0.5
        return Measurement(value, value - NORMAL * error, value + NORMAL * error)

    return read


def minus(first: Reader, second: Reader) -> Reader:
    """first - second, errors unknown."""
    return lambda answer: Measurement(first(answer).value - second(answer).value)


def ratio(first: Reader, second: Reader) -> Reader:
    """first / second, errors unknown."""

    def read(answer: Answer) -> Measurement:
        below = second(answer).value
        if not below:
            raise MissingError("its divisor is 0")
        return Measurement(first(answer).value / below)

    return read


def row_value(path: str, what: str, **where: Any) -> Reader:
    """A value of the one row in a list of rows whose keys are as said."""

    def read(answer: Answer) -> Measurement:
        rows = _found(answer, path)
        fitting = [r for r in rows if all(r.get(key) == value for key, value in where.items())]
        named = ", ".join(f"{key} {value}" for key, value in where.items())
        if not fitting:
            raise MissingError(f"no row in {path!r} with {named}")
        return Measurement(_number(_found(fitting[0], what), f"{what} of {named}"))

    return read


def on_accelerator(named: str) -> Reader:
    """The ratio to the limit of full_size's first row whose name has these words; a processor's ratio is not what is
    asked for."""

    def read(answer: Answer) -> Measurement:
        import torch

        fitting = [row for row in _found(answer, "rows") if named in row.get("row", "")]
        if not fitting:
            raise MissingError(f"no row in 'rows' whose name has {named!r}")
        device = _found(answer, "device")
        if not torch.cuda.is_available() or device != torch.cuda.get_device_name():
            raise NotMeasuredError(f"{device} is no accelerator")
        if "not_run" in fitting[0]:
            raise NotMeasuredError(f"{fitting[0]['row']}: {fitting[0]['not_run']}")
        return Measurement(_number(_found(fitting[0], "ratio"), "ratio"))

    return read


def _error(answer: Answer, key: str) -> float:
    return _number(_found(answer, f"stderr.{key}"), f"stderr.{key}")


def _found(answer: Any, path: str) -> Any:
    for key in path.split("."):
        if not isinstance(answer, dict) or key not in answer:
            raise MissingError(f"the answer has no {path!r}")
        answer = answer[key]
    if answer is None:
        raise NotMeasuredError(f"the answer has null for {path!r}")
    return answer


def _number(value: Any, path: str) -> float:
    if not isinstance(value, int | float):
        raise MissingError(f"{path!r} is {value!r}, expected a number")
    return float(value)
