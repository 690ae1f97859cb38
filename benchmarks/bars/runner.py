"""Runs the commands one after the other, each with a log, and keeps what they answered."""

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
"""Seconds that an interrupted command gets to stop what it started."""


@dataclass(frozen=True)
class Result:
    """What came of a command.

    version: of the code that it ran. seconds: how long it took. answer: None where it failed, and `failed` then says
    why; both None where it was not run. kept: from an earlier run of the same version.
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
    """Run what has not answered yet under this version of the code, and give every command's result.

    folder: gets NAME.json and NAME.log of each. root: where they run. only: run none but these; the others' kept
    results are shown. again: run even what has answered. show: run nothing. One at a time: each may need the machine.
    """
    folder.mkdir(parents=True, exist_ok=True)
    version = code_version(root)
    results = {command.name: load_result(command, folder, version) for command in commands}
    wanted = [] if show else [command for command in commands if not only or command.name in only]
    todo = [command for command in wanted if again or results[command.name].answer is None]
    with _stoppable(), tqdm(total=len(todo), desc="bars", unit="command", disable=None) as bar:
        for command in todo:
            results[command.name] = run_one(command, folder, root, version, bar)
            bar.update()
    return [results[command.name] for command in commands]


def run_one(command: Command, folder: Path, root: Path, version: str, bar: tqdm) -> Result:
    """Run one command to its end, and keep its result."""
    began, said = time.monotonic(), []
    log = folder / f"{command.name}.log"
    arguments = [sys.executable, *command.arguments]
    with log.open("w", encoding="utf-8") as file:
        file.write(f"$ python {' '.join(command.arguments)}\n")
        file.flush()
        # Its errors go straight into the log; its output too, line by line, and is remembered.
        with subprocess.Popen(
            arguments,
            cwd=root,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=file,
            text=True,
            start_new_session=True,
        ) as running:
            try:
                bar.set_postfix_str(
                    f"{command.name}, about {command.minutes:g} min" if command.minutes else command.name
                )
                for line in running.stdout:
                    said.append(line)
                    file.write(line)
                    file.flush()
            except BaseException:
                _stop(running)
                raise
    seconds = round(time.monotonic() - began, 1)
    try:
        result = Result(command, version, command.answer(running.returncode, "".join(said), root), seconds=seconds)
    except NoAnswerError as error:
        result = Result(command, version, failed=f"{error}; see {log.name}", seconds=seconds)
    if code_version(root) != version:
        result = Result(command, version, failed="the code was changed while it ran: run it again", seconds=seconds)
    save_result(result, folder)
    return result


def save_result(result: Result, folder: Path) -> None:
    """Write a result down, whole or not at all."""
    file = folder / f"{result.command.name}.json"
    told = {name: getattr(result, name) for name in ("version", "seconds", "failed", "answer")}
    passing = file.with_suffix(".writing")
    passing.write_text(json.dumps({"arguments": result.command.arguments, **told}, indent=1) + "\n", encoding="utf-8")
    os.replace(passing, file)


def load_result(command: Command, folder: Path, version: str) -> Result:
    """What an earlier run of the same version and arguments kept; else a result that was not run."""
    try:
        found: dict[str, Any] = json.loads((folder / f"{command.name}.json").read_text(encoding="utf-8"))
        if found["version"] == version and found["arguments"] == list(command.arguments):
            return Result(command, version, found["answer"], found["failed"], found["seconds"], cached=True)
    except (OSError, ValueError, KeyError, TypeError):
        pass  # none, or one that a kill cut off
    return Result(command, version)


def code_version(root: Path) -> str:
    """The commit, with a digest of what was changed since: results of other code are not this code's. Without git a
    word that nothing matches twice."""

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
def _stoppable() -> Iterator[None]:
    """A polite kill unwinds like Ctrl-C, so that a command that is running is stopped too."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _stop(running: subprocess.Popen) -> None:
    """A stopped run leaves nothing behind: the command's whole group ends, politely first."""
    for how in (signal.SIGINT, signal.SIGKILL):
        try:
            os.killpg(running.pid, how)
            running.wait(GRACE)
            return
        except subprocess.TimeoutExpired:
            continue
        except ProcessLookupError:
            return
