"""A command that shows something: how it is run, and where its answer is."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from benchmarks.bars.criterion import Answer

COUNTED = re.compile(r"(\d+) (passed|failed|skipped|errors?)\b")


class NoAnswerError(Exception):
    """A command that gave no answer; says why."""


@dataclass(frozen=True)
class Command:
    """name: its log's and its result's. part: of the project, whose bars it shows. arguments: Python's. tests: a run
    of pytest, whose answer is how many tests passed, failed, skipped and broke. report: a file, relative to the
    repository, that has the answer; empty where it is the last line of the output. statuses: with which it may end and
    yet have answered. minutes: about how long on two processor cores, for those who plan (0: not known).
    """

    name: str
    part: str
    arguments: tuple[str, ...]
    tests: bool = False
    report: str = ""
    statuses: tuple[int, ...] = (0,)
    minutes: float = 0

    def answer(self, status: int, output: str, root: Path) -> Answer:
        """What it said. Raises NoAnswerError."""
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
            found = json.loads(text)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise NoAnswerError(f"{self.report or 'the last line'} is no JSON object: {text[:80]!r}")
        return found


def pytest_command(name: str, part: str, *places: str, minutes: float = 0) -> Command:
    """A bar that tests hold: files, or tests in them."""
    arguments = ("-m", "pytest", "-q", "-p", "no:cacheprovider", *places)
    return Command(name, part, arguments, tests=True, minutes=minutes)


def _tests(status: int, output: str) -> Answer:
    found = {what.rstrip("s"): int(count) for count, what in COUNTED.findall(output.strip().rpartition("\n")[2])}
    if not found:
        raise NoAnswerError(f"pytest ended with status {status} and counted no test{_last(output)}")
    answer = {what: found.get(what, 0) for what in ("passed", "failed", "skipped", "error")}
    return answer | {"not_passed": answer["failed"] + answer["skipped"] + answer["error"]}


def _last(output: str) -> str:
    line = output.strip().rpartition("\n")[2].strip()
    return f" ({line[:100]})" if line else ""
