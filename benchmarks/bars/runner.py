"""Runs the measuring commands one by one, and stores their logs and results."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from benchmarks.bars.command import Command, NoAnswerError
from benchmarks.bars.criterion import Answer

GRACE = 10
"""Seconds that an interrupted command gets to stop its child processes."""


@dataclass(frozen=True)
class Result:
    """The result of a command.

    Attributes:
        command: The command.
        version: Version of the code.
        answer: The measured values, or None.
        failed: Why the command failed, or None. If the command was not run, `answer` and `failed` are None.
        seconds: Duration.
        cached: Whether the result comes from an earlier run of the same version.
    """

    command: Command
    version: str
    answer: Answer | None = None
    failed: str | None = None
    seconds: float | None = None
    cached: bool = False


def run_all(
    commands: Sequence[Command],
    folder: Path,
    root: Path,
    only: Sequence[str] = (),
    again: bool = False,
    show: bool = False,
) -> list[Result]:
    """Run commands one at a time, and return all results.

    Commands that already have a result for this version of the code are not run again.

    Args:
        commands: The commands.
        folder: Folder for NAME.json and NAME.log of each command.
        root: Working directory of the commands.
        only: Names of the commands to run. Existing results of the others are returned.
        again: Whether to rerun commands that have a result.
        show: Whether to run nothing and only return existing results.
    """
    folder.mkdir(parents=True, exist_ok=True)
    version = code_version(root)
    results = {command.name: load_result(command, folder, version) for command in commands}
    selected = [] if show else [command for command in commands if not only or command.name in only]
    todo = [command for command in selected if again or results[command.name].answer is None]
    with _sigterm_as_interrupt(), tqdm(total=len(todo), desc="bars", unit="command", disable=None) as bar:
        for command in todo:
            results[command.name] = run_one(command, folder, root, version, bar)
            bar.update()
    return [results[command.name] for command in commands]


def run_one(command: Command, folder: Path, root: Path, version: str, bar: tqdm) -> Result:
    """Run one command, and store its result."""
    start, lines = time.monotonic(), []
    log = folder / f"{command.name}.log"
    arguments = [sys.executable, *command.arguments]
    with log.open("w", encoding="utf-8") as file:
        file.write(f"$ python {' '.join(command.arguments)}\n")
        file.flush()
        # stderr goes straight to the log; stdout is copied line by line and collected.
        with subprocess.Popen(
            arguments,
            cwd=root,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=file,
            text=True,
            start_new_session=True,
        ) as process:
            try:
                bar.set_postfix_str(
                    f"{command.name}, about {command.minutes:g} min" if command.minutes else command.name
                )
                for line in process.stdout:
                    lines.append(line)
                    file.write(line)
                    file.flush()
            except BaseException:
                _stop(process)
                raise
    seconds = round(time.monotonic() - start, 1)
    try:
        result = Result(command, version, command.answer(process.returncode, "".join(lines), root), seconds=seconds)
    except NoAnswerError as error:
        result = Result(command, version, failed=f"{error}; see {log.name}", seconds=seconds)
    if code_version(root) != version:
        result = Result(command, version, failed="the code changed during the run; run it again", seconds=seconds)
    save_result(result, folder)
    return result


def save_result(result: Result, folder: Path) -> None:
    """Write a result atomically."""
    file = folder / f"{result.command.name}.json"
    content = {name: getattr(result, name) for name in ("version", "seconds", "failed", "answer")}
    temporary = file.with_suffix(".writing")
    temporary.write_text(
        json.dumps({"arguments": result.command.arguments, **content}, indent=1) + "\n", encoding="utf-8"
    )
    os.replace(temporary, file)


def load_result(command: Command, folder: Path, version: str) -> Result:
    """Load the result of an earlier run with the same version and arguments, or return one without an answer."""
    try:
        stored: dict[str, Any] = json.loads((folder / f"{command.name}.json").read_text(encoding="utf-8"))
        if stored["version"] == version and stored["arguments"] == list(command.arguments):
            return Result(command, version, stored["answer"], stored["failed"], stored["seconds"], cached=True)
    except (OSError, ValueError, KeyError, TypeError):
        pass  # no file, or a file that was truncated when the process was killed
    return Result(command, version)


def code_version(root: Path) -> str:
    """Return the commit hash with a digest of uncommitted changes. Returns a unique text if there is no git."""

    def git(*arguments: str) -> bytes:
        return subprocess.run(["git", *arguments], cwd=root, capture_output=True, check=True).stdout

    try:
        commit = git("rev-parse", "--short=12", "HEAD").decode().strip()
        changed = git("diff", "HEAD", "--no-ext-diff")
        for name in filter(None, git("ls-files", "--others", "--exclude-standard", "-z").decode().split("\0")):
            changed += name.encode() + (root / name).read_bytes()
    except (OSError, subprocess.CalledProcessError):
        return f"unknown at {time.time():.0f}"
    return commit + (f"+{hashlib.sha256(changed).hexdigest()[:8]}" if changed else "")


@contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    """Treat SIGTERM like Ctrl-C, so that the running command is stopped too."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _stop(process: subprocess.Popen) -> None:
    """Stop the whole process group of a command: SIGINT first, then SIGKILL."""
    for stop_signal in (signal.SIGINT, signal.SIGKILL):
        try:
            os.killpg(process.pid, stop_signal)
            process.wait(GRACE)
            return
        except subprocess.TimeoutExpired:
            continue
        except ProcessLookupError:
            return
