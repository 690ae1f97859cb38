"""Defines an acceptance criterion, and checks a command's result against it as a value and as a 95 % interval."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

NORMAL = 1.96
"""Half-width of a 95 % interval in standard errors, as in train.evaluate.statistics."""

NOT_RUN = "not run"

Answer = dict[str, Any]


class MissingError(Exception):
    """A command's result lacks the value that a criterion needs."""


class NotMeasuredError(MissingError):
    """A command reports that a value was not measured, for example without an accelerator."""


@dataclass(frozen=True)
class Measurement:
    """A value and, if its error is known, its 95 % interval."""

    value: float
    low: float | None = None
    high: float | None = None

    @property
    def is_interval(self) -> bool:
        """Return whether the error is known."""
        return self.low is not None and self.high is not None

    def text(self) -> str:
        """Format the value and the interval for a table."""
        return format_number(self.value) + (
            f" ({format_number(self.low)} to {format_number(self.high)})" if self.is_interval else ""
        )


@dataclass(frozen=True)
class Criterion:
    """An acceptance criterion.

    Attributes:
        command: Name of the Command that measures the value.
        what: Description of the value, with its unit.
        extract: Gets the value from the command's result.
        relation: ">=", ">", "<=" or "<".
        threshold: The required threshold: `value relation threshold` must hold.
        aim: A stricter threshold that is desired but not required, or None.
    """

    command: str
    what: str
    extract: Callable[[Answer], Measurement]
    relation: str
    threshold: float
    aim: float | None = None

    def holds(self, value: float, threshold: float | None = None) -> bool:
        """Return whether a value satisfies `threshold` (default: the criterion's). NaN never satisfies it."""
        limit = self.threshold if threshold is None else threshold
        return {">=": value >= limit, ">": value > limit, "<=": value <= limit, "<": value < limit}[self.relation]


@dataclass(frozen=True)
class Verdict:
    """The outcome of a criterion.

    Attributes:
        criterion: The criterion.
        measured: The measured value, or None.
        point: Whether the value satisfies the threshold.
        interval: Whether the whole 95 % interval satisfies the threshold; None if the error is not known.
        aim: Whether the value reaches the aim; None if there is no aim.
        failed: Why there is no measured value, or None.
    """

    criterion: Criterion
    measured: Measurement | None = None
    point: bool = False
    interval: bool | None = None
    aim: bool | None = None
    failed: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        measured = self.measured and {name: json_number(value) for name, value in vars(self.measured).items()}
        criterion = {name: getattr(self.criterion, name) for name in ("command", "what", "relation")}
        criterion |= {"bar": self.criterion.threshold, "aim": self.criterion.aim}
        outcome = {"point": self.point, "interval": self.interval, "aim_reached": self.aim, "failed": self.failed}
        return criterion | {"measured": measured} | outcome


def check(criterion: Criterion, answer: Answer | None, failed: str | None = None) -> Verdict:
    """Check a command's result against a criterion.

    Args:
        criterion: The criterion.
        answer: The command's result, or None.
        failed: Why there is no result; None if the command was not run.
    """
    if answer is None:
        return Verdict(criterion, failed=f"failed: {failed}" if failed else NOT_RUN)
    try:
        measured = criterion.extract(answer)
    except NotMeasuredError as missing:
        return Verdict(criterion, failed=f"not measured: {missing}")
    except MissingError as missing:
        return Verdict(criterion, failed=f"failed: {missing}")
    worst = measured.low if criterion.relation.startswith(">") else measured.high
    return Verdict(
        criterion,
        measured,
        point=criterion.holds(measured.value),
        interval=criterion.holds(worst) if measured.is_interval else None,
        aim=None if criterion.aim is None else criterion.holds(measured.value, criterion.aim),
    )


def format_number(value: float) -> str:
    """Format a number with three significant digits; integers are exact."""
    if not math.isfinite(value):
        return str(value)
    if value == int(value) and abs(value) < 1e6:
        return str(int(value))
    return f"{value:.3g}" if abs(value) >= 100 or abs(value) < 1e-3 else f"{value:.3f}"


def json_number(value: float | None) -> float | str | None:
    """Convert NaN and infinity to text, because JSON has neither."""
    return value if value is None or math.isfinite(value) else str(value)
