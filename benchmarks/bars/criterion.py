"""A bar: what a command's answer has to be; and whether it is, as a point and as a 95 % interval."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

NORMAL = 1.96
"""Standard errors on each side of a 95 % interval (train.evaluate.statistics has the same)."""

NOT_RUN = "not run"

Answer = dict[str, Any]


class MissingError(Exception):
    """An answer that lacks what a bar reads; says what."""


class NotMeasuredError(MissingError):
    """An answer that says itself that this was not measured: a peer that was not there, no accelerator."""


@dataclass(frozen=True)
class Measurement:
    """A value and, where its error is known, its 95 % interval."""

    value: float
    low: float | None = None
    high: float | None = None

    @property
    def is_interval(self) -> bool:
        """Whether anything is known of its error."""
        return self.low is not None and self.high is not None

    def text(self) -> str:
        """For a table."""
        return format_number(self.value) + (
            f" ({format_number(self.low)} to {format_number(self.high)})" if self.is_interval else ""
        )


@dataclass(frozen=True)
class Criterion:
    """One thing that must be shown.

    command: the name of the Command that shows it. what: in words, with the unit. read: from the command's answer.
    relation: ">=", ">", "<=" or "<". aim: better yet than the bar, where the project has said one.
    """

    command: str
    what: str
    read: Callable[[Answer], Measurement]
    relation: str
    bar: float
    aim: float | None = None

    def holds(self, value: float, against: float | None = None) -> bool:
        """Whether a value is on the right side of the bar, or of another mark. NaN is on no side."""
        mark = self.bar if against is None else against
        return {">=": value >= mark, ">": value > mark, "<=": value <= mark, "<": value < mark}[self.relation]


@dataclass(frozen=True)
class Verdict:
    """What came of a bar.

    measured: None where there is nothing to check, and `failed` then says why. point, interval, aim: whether they hold;
    None for an interval that is not known and an aim that is not set.
    """

    bar: Criterion
    measured: Measurement | None = None
    point: bool = False
    interval: bool | None = None
    aim: bool | None = None
    failed: str | None = None

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        found = self.measured and {name: json_number(value) for name, value in vars(self.measured).items()}
        bar = {name: getattr(self.bar, name) for name in ("command", "what", "relation", "bar", "aim")}
        told = {"point": self.point, "interval": self.interval, "aim_reached": self.aim, "failed": self.failed}
        return bar | {"measured": found} | told


def check(bar: Criterion, answer: Answer | None, failed: str | None = None) -> Verdict:
    """Hold an answer against a bar. failed: why there is no answer; None where the command was not run."""
    if answer is None:
        return Verdict(bar, failed=f"failed: {failed}" if failed else NOT_RUN)
    try:
        measured = bar.read(answer)
    except NotMeasuredError as missing:
        return Verdict(bar, failed=f"not measured: {missing}")
    except MissingError as missing:
        return Verdict(bar, failed=f"failed: {missing}")
    worst = measured.low if bar.relation.startswith(">") else measured.high
    return Verdict(
        bar,
        measured,
        point=bar.holds(measured.value),
        interval=bar.holds(worst) if measured.is_interval else None,
        aim=None if bar.aim is None else bar.holds(measured.value, bar.aim),
    )


def format_number(value: float) -> str:
    """Short, and exact where it is whole."""
    if not math.isfinite(value):
        return str(value)
    if value == int(value) and abs(value) < 1e6:
        return str(int(value))
    return f"{value:.3g}" if abs(value) >= 100 or abs(value) < 1e-3 else f"{value:.3f}"


def json_number(value: float | None) -> float | str | None:
    """JSON has no NaN and no infinity."""
    return value if value is None or math.isfinite(value) else str(value)
