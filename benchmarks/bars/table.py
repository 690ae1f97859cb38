"""Formats the verdicts as a Markdown table and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.bars.criterion import Criterion, Verdict, check, format_number
from benchmarks.bars.runner import Result

COLUMNS = ("part", "command", "criterion", "measured (95 %)", "required", "met", "interval met", "aim")

KINDS = ("hold", "hold_as_a_point_only", "fall_short", "failed", "not_measured", "not_run")


def verdicts(criteria: Sequence[Criterion], results: Sequence[Result]) -> list[tuple[Result, Verdict]]:
    """Check every criterion, and return the result of its command together with its verdict."""
    by_name = {result.command.name: result for result in results}
    checked = []
    for criterion in criteria:
        result = by_name[criterion.command]
        checked.append((result, check(criterion, result.answer, result.failed)))
    return checked


def markdown(checked: Sequence[tuple[Result, Verdict]], version: str) -> str:
    """Return the table with a legend."""
    rows = [COLUMNS, ("---",) * len(COLUMNS), *(_row(result, verdict) for result, verdict in checked)]
    lines = [f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in rows]
    counts = ", ".join(f"{count} {what.replace('_', ' ')}" for what, count in summary(checked).items())
    return "\n".join(
        [
            "# Acceptance criteria",
            "",
            f"Code {version}: {counts}.",
            "",
            "*met*: the value satisfies the requirement. *interval met*: the whole 95 % interval does; a dash means "
            "that the error is not known. Intervals of differences of two rates treat the rates as independent, which "
            "makes them wider than paired intervals.",
            "",
            *lines,
            "",
        ]
    )


def summary(checked: Sequence[tuple[Result, Verdict]]) -> dict[str, int]:
    """Count the verdicts of each kind."""
    kinds = [_kind(verdict) for _, verdict in checked]
    return {kind: kinds.count(kind) for kind in KINDS}


def to_json(checked: Sequence[tuple[Result, Verdict]], version: str) -> dict[str, Any]:
    """Return all values, for the last line of the output and for bars.json."""
    rows = [{"part": result.command.part, **verdict.to_json(), "kind": _kind(verdict)} for result, verdict in checked]
    return {"version": version, **summary(checked), "bars": rows}


def _kind(verdict: Verdict) -> str:
    if verdict.failed:
        return next((kind for kind in KINDS if verdict.failed.startswith(kind.replace("_", " "))), "failed")
    if not verdict.point:
        return "fall_short"
    return "hold_as_a_point_only" if verdict.interval is False else "hold"


def _row(result: Result, verdict: Verdict) -> tuple[str, ...]:
    criterion = verdict.criterion
    required = f"{criterion.relation} {format_number(criterion.threshold)}"
    head = (result.command.part, result.command.name, criterion.what)
    if verdict.failed:
        return (*head, verdict.failed, required, "", "", "")
    aim = ""
    if criterion.aim is not None:
        aim = f"{'reached' if verdict.aim else 'missed'}: {criterion.relation} {format_number(criterion.aim)}"
    interval = {None: "-", True: "yes", False: "**no**"}[verdict.interval]
    return (*head, verdict.measured.text(), required, "yes" if verdict.point else "**falls short**", interval, aim)
