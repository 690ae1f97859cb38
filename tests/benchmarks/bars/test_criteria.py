"""Tests the acceptance criteria on results in the format of their commands."""

import json
import math
from importlib.util import find_spec
from pathlib import Path

import pytest

from benchmarks.bars.__main__ import main
from benchmarks.bars.criteria import PARTS, commands, criteria
from benchmarks.bars.criterion import Criterion, Measurement, check
from benchmarks.bars.extractors import difference, row_value

ROOT = Path(__file__).parents[3]


def test_every_command_has_a_bar_and_every_bar_a_command():
    names = [command.name for command in commands()]
    assert len(set(names)) == len(names)
    assert {bar.command for bar in criteria()} == set(names)
    assert {command.part for command in commands()} == set(PARTS)
    assert [names.index(bar.command) for bar in criteria()] == sorted(names.index(bar.command) for bar in criteria())


def test_the_modules_and_tests_that_are_run_are_there():
    for command in commands():
        if command.tests:
            assert all((ROOT / place).exists() for place in command.arguments if place.startswith("tests/"))
        else:
            assert find_spec(command.arguments[1]), command.name


def test_the_peer_is_passed_on():
    (adapter,) = [command for command in commands("somewhere") if command.name == "adapter"]
    assert adapter.arguments[-2:] == ("--peer", "somewhere")


def verdict(command, what, answer):
    (bar,) = [bar for bar in criteria() if bar.command == command and what in bar.what]
    return check(bar, answer)


@pytest.mark.parametrize(("value", "low", "point", "whole"), [(0.857, 0.84, True, False), (0.9, 0.88, True, True)])
def test_the_share_that_pairs_can_tell(value, low, point, whole):
    found = verdict("prediction", "share", {"share_of_possible": {"value": value, "low": low, "high": 0.93}})
    assert (found.point, found.interval, found.aim) == (point, whole, False)


def test_the_demos_orderings():
    def both(right, wrong):
        return {"right": {"true_utility": right}, "wrong": {"true_utility": wrong}}

    answer = {"plain": both(1, 1), "adapter": both(2, 1.5), "plain_reno": both(0.5, 0.5), "reno": both(0.4, -3)}
    found = [check(bar, answer).point for bar in criteria() if bar.command == "demo"]
    assert found == [True, True, False, True]


def test_a_difference_has_both_errors():
    answer = {
        "win_rate": 0.8,
        "win_rate_other_person": 0.5,
        "stderr": {"win_rate": 0.03, "win_rate_other_person": 0.04},
    }
    measured = difference("win_rate", "win_rate_other_person")(answer)
    assert measured.value == pytest.approx(0.3)
    assert (measured.low, measured.high) == (pytest.approx(0.3 - 1.96 * 0.05), pytest.approx(0.3 + 1.96 * 0.05))


def test_the_row_that_is_meant():
    answer = {
        "rows": [{"model": "pocket", "with": "ours", "share": 1}, {"model": "sdxl", "with": "ours", "share": 0.01}]
    }
    assert verdict("adapter", "plain step", answer).measured.value == 0.01
    assert "no row in 'rows' with model sdxl, with peer" in verdict("adapter", "peer's", answer).failed
    assert row_value("rows", "share", model="pocket")(answer) == Measurement(1.0)


def test_the_ratios_of_full_size_are_an_accelerators(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda: "NVIDIA H100")
    rows = [
        {"row": "score 32 candidates", "ratio": 0.5},
        {"row": "SDXL 1024 px, with the adapter", "not_run": "no room"},
    ]
    answer = {"device": "NVIDIA H100", "dtype": "bfloat16", "rows": rows}
    assert verdict("full-size", "scoring", answer).measured.value == 0.5
    assert verdict("full-size", "adapter", answer).failed == ("not measured: SDXL 1024 px, with the adapter: no room")
    processor = verdict("full-size", "scoring", answer | {"device": "AMD EPYC"})
    assert processor.failed == "not measured: AMD EPYC is not an accelerator"
    assert verdict("full-size", "rows", answer).point


def test_nan_is_on_no_side():
    for relation in (">=", ">", "<=", "<"):
        bar = Criterion("c", "w", lambda _: Measurement(math.nan), relation, 0)
        assert not check(bar, {}).point
        json.dumps(check(bar, {}).to_json(), allow_nan=False)


def test_the_whole_command_shows_what_was_not_run(tmp_path, capsys):
    answer = main(["--show", "--out", str(tmp_path)])
    assert answer["not_run"] == len(criteria())
    said = capsys.readouterr().out
    assert json.loads(said.strip().splitlines()[-1]) == answer
    assert "not run" in (tmp_path / "bars.md").read_text()
    assert json.loads((tmp_path / "bars.json").read_text()) == answer
