"""Tests the runner with small commands: results, failures, cached results, and interrupted runs."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.bars.command import Command, pytest_command
from benchmarks.bars.criterion import Criterion
from benchmarks.bars.extractors import at, estimate
from benchmarks.bars.runner import code_version, run_all
from benchmarks.bars.table import markdown, summary, verdicts

ROOT = Path(__file__).parents[3]
COUNTING = "from pathlib import Path; p = Path('ran'); p.write_text(p.read_text() + 'x' if p.exists() else 'x'); "


def says(text, before=""):
    return ("-c", f"{before}print('a table'); print({text!r})")


def run(commands, tmp_path, **how):
    return {r.command.name: r for r in run_all(commands, tmp_path / "out", tmp_path, **how)}


@pytest.fixture
def repository(tmp_path):
    """A repository with one commit, in which commands run."""
    (tmp_path / ".gitignore").write_text("out/\nran\n")
    (tmp_path / "code.py").write_text("1")
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-qm", "one"]):
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
        subprocess.run(["git", *identity, *arguments], cwd=tmp_path, check=True, capture_output=True)
    return tmp_path


def test_a_command_is_run_its_output_logged_and_its_last_line_the_answer(repository):
    complains = "import sys; print('a warning', file=sys.stderr); "
    found = run([Command("one", "part", says('{"a": 1}', complains))], repository)["one"]
    assert found.answer == {"a": 1}
    assert found.failed is None
    log = (repository / "out" / "one.log").read_text()
    assert "a table" in log
    assert "a warning" in log
    assert json.loads((repository / "out" / "one.json").read_text())["answer"] == {"a": 1}


@pytest.mark.parametrize(
    ("command", "why"),
    [
        (Command("c", "part", says("no json")), "the last line is not a JSON object: 'no json'"),
        (Command("c", "part", says("[1]")), "the last line is not a JSON object"),
        (Command("c", "part", ("-c", "print('{}'); raise SystemExit(3)")), "exit status 3"),
        (Command("c", "part", ("-c", "import os; os.kill(os.getpid(), 9)")), "exit status -9"),
        (Command("c", "part", says("{}"), report="not/there.json"), "not/there.json could not be read"),
        (Command("c", "part", ("-c", "print('collected nothing')"), tests=True), "ran no tests"),
    ],
)
def test_what_gives_no_answer_says_why_and_is_shown(repository, command, why):
    results = [run([command], repository)["c"]]
    assert why in results[0].failed
    told = verdicts([Criterion("c", "a", at("a"), ">=", 1)], results)
    assert f"failed: {results[0].failed}" in markdown(told, "v")
    assert summary(told)["failed"] == 1


def test_a_report_is_read_and_another_status_may_be_an_answer(repository):
    (repository / "report.json").write_text('{"a": 3}')
    commands = [
        Command("report", "part", says("whatever"), report="report.json"),
        Command("status", "part", ("-c", "print('{\"lost\": 2}'); raise SystemExit(1)"), statuses=(0, 1)),
    ]
    found = run(commands, repository)
    assert found["report"].answer == {"a": 3}
    assert found["status"].answer == {"lost": 2}


def test_tests_answer_with_their_counts(repository):
    (repository / "test_some.py").write_text(
        "import pytest\ndef test_a(): pass\ndef test_b(): assert 0\n@pytest.mark.skip\ndef test_c(): pass\n"
    )
    found = run([pytest_command("t", "part", "test_some.py")], repository)["t"].answer
    assert found == {"passed": 1, "failed": 1, "skipped": 1, "error": 0, "not_passed": 2}


def test_what_has_answered_is_not_run_again_until_the_code_changes(repository):
    commands = [
        Command("one", "part", says('{"a": 1}', COUNTING)),
        Command("bad", "part", ("-c", "raise SystemExit(1)")),
    ]
    ran = repository / "ran"
    assert not run(commands, repository)["one"].cached
    assert run(commands, repository)["one"].cached
    assert ran.read_text() == "x"
    run(commands, repository, again=True)
    assert ran.read_text() == "xx"
    before = code_version(repository)
    (repository / "code.py").write_text("2")
    assert code_version(repository) != before
    assert run(commands, repository, show=True)["one"].answer is None, "results of other code are not reused"
    run(commands, repository, only=["bad"])
    assert ran.read_text() == "xx"
    run(commands, repository)
    assert ran.read_text() == "xxx"
    other = [Command("one", "part", says('{"a": 2}'))]
    assert run(other, repository)["one"].answer == {"a": 2}, "results of other arguments are not reused"


def test_code_that_changes_while_a_command_runs_is_nobodys_answer(repository):
    changes = Command("one", "part", says("{}", "open('code.py', 'w').write('3'); "))
    found = run([changes], repository)["one"]
    assert found.answer is None
    assert "the code changed during the run" in found.failed


def test_a_kept_answer_that_was_cut_off_is_run_again(repository):
    commands = [Command("one", "part", says('{"a": 1}'))]
    run(commands, repository)
    file = repository / "out" / "one.json"
    file.write_text(file.read_text()[:20])
    assert not run(commands, repository)["one"].cached


def test_without_git_nothing_is_taken_for_the_same_code(tmp_path):
    assert code_version(tmp_path).startswith("unknown")


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_stops_its_command(repository, how):
    """Ctrl-C and SIGTERM also stop the command's child processes."""
    sleeper = "import subprocess, sys, time; "
    sleeper += "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']); "
    sleeper += "print(p.pid, flush=True); time.sleep(600)"
    script = (
        # shells start background processes, and possibly this test, with SIGINT ignored
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from pathlib import Path; from benchmarks.bars.command import Command; "
        "from benchmarks.bars.runner import run_all; "
        f"run_all([Command('long', 'a part', ('-c', {sleeper!r}))], Path('out'), Path('.'))"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    running = subprocess.Popen(
        [sys.executable, "-c", script], cwd=repository, env=environment, stderr=subprocess.DEVNULL
    )
    log, until = repository / "out" / "long.log", time.monotonic() + 60
    while not (log.exists() and len(log.read_text().splitlines()) > 1):
        assert time.monotonic() < until
        time.sleep(0.05)
    grandchild = int(log.read_text().splitlines()[1])
    running.send_signal(how)
    running.wait(60)
    until = time.monotonic() + 30
    while Path(f"/proc/{grandchild}").exists() and "Z" not in Path(f"/proc/{grandchild}/stat").read_text().split()[2]:
        assert time.monotonic() < until, "the child process is still running"
        time.sleep(0.05)
    assert not (repository / "out" / "long.json").exists(), "an interrupted command has no result"


def test_the_table_says_point_and_interval(repository):
    answer = '{"sure": 0.9, "near": 0.86, "low": 0.7, "bare": 5, "gone": null, "stderr": '
    answer += '{"sure": 0.01, "near": 0.02, "low": 0.01}}'
    results = list(run([Command("c", "a part", says(answer))], repository).values())
    bars = [
        Criterion("c", "the sure one", estimate("sure"), ">=", 0.85, aim=0.95),
        Criterion("c", "the near one", estimate("near"), ">=", 0.85, aim=0.86),
        Criterion("c", "the low one", estimate("low"), ">=", 0.85),
        Criterion("c", "the bare one", at("bare"), "<", 6),
        Criterion("c", "the missing one", at("nowhere.a"), "<", 6),
        Criterion("c", "the unmeasured one", at("gone"), "<", 6),
    ]
    told = verdicts(bars, results)
    text = markdown(told, "v")
    rows = {line.split(" | ")[2]: line.split(" | ")[3:] for line in text.splitlines() if line.startswith("| a part")}
    assert rows["the sure one"] == ["0.900 (0.880 to 0.920)", ">= 0.850", "yes", "yes", "missed: >= 0.950 |"]
    assert rows["the near one"][2:] == ["yes", "**no**", "reached: >= 0.860 |"]
    assert rows["the low one"][2:4] == ["**falls short**", "**no**"]
    assert rows["the bare one"][2:4] == ["yes", "-"]
    assert rows["the missing one"][0] == "failed: the result has no 'nowhere.a'"
    assert rows["the unmeasured one"][0].startswith("not measured")
    counts = {"hold": 2, "hold_as_a_point_only": 1, "fall_short": 1, "failed": 1, "not_measured": 1, "not_run": 0}
    assert summary(told) == counts
