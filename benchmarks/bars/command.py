"""Describes a measuring command: how to run it, and where to find its result."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from benchmarks.bars.criterion import Answer

COUNTED = re.compile(r"(\d+) (passed|failed|skipped|errors?)\b")


class NoAnswerError(Exception):
    """A command produced no result. The message says why."""


@dataclass(frozen=True)
class Command:
    """A measuring command.

    Attributes:
        name: Name of the command, and of its log and result files.
        part: Part of the project that the command measures.
        arguments: Command-line arguments for Python.
        tests: Whether the command runs pytest. Its result is then the number of passed, failed, skipped and broken
            tests.
        report: File with the result, relative to the repository. If empty, the result is the last line of the output.
        statuses: Exit statuses with which the result is valid.
        minutes: Approximate duration on two processor cores, or 0 if not known.
    """

    name: str
    part: str
    arguments: tuple[str, ...]
    tests: bool = False
    report: str = ""
    statuses: tuple[int, ...] = (0,)
    minutes: float = 0

    def answer(self, status: int, output: str, root: Path) -> Answer:
        """Get the result from the exit status and the output.

        Raises:
            NoAnswerError: There is no result.
        """
        if self.tests:
            return _tests(status, output)
        if status not in self.statuses:
            raise NoAnswerError(f"exit status {status}{_last(output)}")
        text = output.strip().rpartition("\n")[2]
        if self.report:
            try:
                text = (root / self.report).read_text(encoding="utf-8")
            except OSError as error:
                raise NoAnswerError(f"{self.report} could not be read ({error.strerror})") from error
        try:
            result = json.loads(text)
        except ValueError:
            result = None
        if not isinstance(result, dict):
            raise NoAnswerError(f"{self.report or 'the last line'} is not a JSON object: {text[:80]!r}")
        return result


def pytest_command(name: str, part: str, *paths: str, minutes: float = 0) -> Command:
    """Create a command that runs test files or single tests."""
    arguments = ("-m", "pytest", "-q", "-p", "no:cacheprovider", *paths)
    return Command(name, part, arguments, tests=True, minutes=minutes)


def _tests(status: int, output: str) -> Answer:
    counts = {what.rstrip("s"): int(count) for count, what in COUNTED.findall(output.strip().rpartition("\n")[2])}
    if not counts:
        raise NoAnswerError(f"pytest ended with status {status} and ran no tests{_last(output)}")
    answer = {what: counts.get(what, 0) for what in ("passed", "failed", "skipped", "error")}
    return answer | {"not_passed": answer["failed"] + answer["skipped"] + answer["error"]}


def _last(output: str) -> str:
    line = output.strip().rpartition("\n")[2].strip()
    return f" ({line[:100]})" if line else ""
