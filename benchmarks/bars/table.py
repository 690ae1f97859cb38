"""The verdicts as one Markdown table, and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.bars.criterion import Criterion, Verdict, check, format_number
from benchmarks.bars.runner import Result

COLUMNS = ("part", "command", "bar", "measured (95 %)", "wanted", "holds", "as an interval", "aim")

KINDS = ("hold", "hold_as_a_point_only", "fall_short", "failed", "not_measured", "not_run")


def verdicts(bars: Sequence[Criterion], results: Sequence[Result]) -> list[tuple[Result, Verdict]]:
    """Every bar's verdict, beside the result that it reads."""
    by_name = {result.command.name: result for result in results}
    return [
        (by_name[bar.command], check(bar, by_name[bar.command].answer, by_name[bar.command].failed)) for bar in bars
    ]


def markdown(told: Sequence[tuple[Result, Verdict]], version: str) -> str:
    """The table, with a line on how to read it."""
    rows = [COLUMNS, ("---",) * len(COLUMNS), *(_row(result, verdict) for result, verdict in told)]
    lines = [f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in rows]
    counts = ", ".join(f"{count} {what.replace('_', ' ')}" for what, count in summary(told).items())
    return "\n".join(
        [
            "# The bars",
            "",
            f"Code {version}: {counts}.",
            "",
            "*holds*: the value itself. *as an interval*: its whole 95 % interval is on the right side; a dash where "
            "its error is not known. An interval of a difference of two rates takes them as unrelated, which is wider "
            "than the paired one.",
            "",
            *lines,
            "",
        ]
    )


def summary(told: Sequence[tuple[Result, Verdict]]) -> dict[str, int]:
    """How many bars hold as far as can be told, hold as a point alone, fall short, and have nothing to judge."""
    found = [_kind(verdict) for _, verdict in told]
    return {kind: found.count(kind) for kind in KINDS}


def to_json(told: Sequence[tuple[Result, Verdict]], version: str) -> dict[str, Any]:
    """Everything, for the last line and for bars.json."""
    rows = [{"part": result.command.part, **verdict.to_json(), "kind": _kind(verdict)} for result, verdict in told]
    return {"version": version, **summary(told), "bars": rows}


def _kind(verdict: Verdict) -> str:
    if verdict.failed:
        return next((kind for kind in KINDS if verdict.failed.startswith(kind.replace("_", " "))), "failed")
    if not verdict.point:
        return "fall_short"
    return "hold_as_a_point_only" if verdict.interval is False else "hold"


def _row(result: Result, verdict: Verdict) -> tuple[str, ...]:
    bar = verdict.bar
    wanted = f"{bar.relation} {format_number(bar.bar)}"
    head = (result.command.part, result.command.name, bar.what)
    if verdict.failed:
        return (*head, verdict.failed, wanted, "", "", "")
    aim = (
        "" if bar.aim is None else f"{'reached' if verdict.aim else 'missed'}: {bar.relation} {format_number(bar.aim)}"
    )
    interval = {None: "-", True: "yes", False: "**no**"}[verdict.interval]
    return (*head, verdict.measured.text(), wanted, "yes" if verdict.point else "**falls short**", interval, aim)
