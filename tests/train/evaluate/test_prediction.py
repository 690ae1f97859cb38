"""Tests the comparison of methods, and the targets of the prediction command."""

import argparse
from pathlib import Path

import numpy as np
import pytest

from train.evaluate import method_comparison, prediction
from train.evaluate.accuracy import correct_choices
from train.evaluate.command import Options

USERS = 4000
ACCURACIES = {
    "true_utility": 0.89,
    "ideal_observer": 0.80,
    "seen": 0.785,
    "unseen": 0.785,
    "ideal_no_history": 0.64,
    "bradley_terry": 0.65,
    "clip_bradley_terry": 0.60,
    "no_history": 0.62,
    "wrong_history": 0.58,
}


def options(users=USERS):
    return Options("pocket", users, [0, 1], 4, Path("out"), None, argparse.Namespace())


@pytest.fixture
def measured(monkeypatch):
    """Return the report for choices that are predicted with given accuracies."""

    def measure(**changed):
        rng = np.random.default_rng(0)
        made = {name: rng.random((USERS, 12)) < share for name, share in {**ACCURACIES, **changed}.items()}
        monkeypatch.setattr(prediction, "evaluate_methods", lambda *_: made)
        return prediction.measure(options())

    return measure


def test_a_good_model_meets_the_bars(measured):
    report = measured()
    assert report.result["bars"] == dict.fromkeys(report.result["bars"], True)
    # (.785 - .64) / (.80 - .64), to two standard errors.
    assert report.result["share_of_possible"]["value"] == pytest.approx(0.906, abs=0.03)
    assert report.result["pairs"] == 48_000
    assert report.result["stderr"]["accuracy_unseen"] == pytest.approx((0.785 * 0.215 / 48_000) ** 0.5, rel=0.1)
    assert "4,000 unseen and as many seen users" in report.description


@pytest.mark.parametrize(
    ("bar", "changed"),
    [
        ("share", {"unseen": 0.76, "seen": 0.76}),
        ("above_bradley_terry", {"bradley_terry": 0.79}),
        ("seen_as_unseen", {"seen": 0.80}),
        ("seen_as_unseen", {"seen": 0.77}),
        ("wrong_history_no_better", {"wrong_history": 0.64}),
    ],
)
def test_a_model_that_fails_is_told(measured, bar, changed):
    bars = measured(**changed).result["bars"]
    assert [name for name, met in bars.items() if not met] == [bar]


def test_everyone_is_asked_the_same_but_the_controls(monkeypatch, world, few):
    asked = {}

    def score_targets(encoded, history, targets, desc=""):
        asked[desc] = history, targets
        return np.zeros(targets.shape)

    monkeypatch.setattr(method_comparison, "score_targets", score_targets)
    graded = []
    found = method_comparison.evaluate_methods(
        options(8), 3, 2, lambda scores, chosen: graded.append(chosen) or correct_choices(scores, chosen)
    )
    assert set(found) == set(method_comparison.METHODS)
    assert all(values.shape == (8, 3) for values in found.values())
    (own, targets), (wrong, again), (_, others) = (
        asked[kind] for kind in ("unseen users", "another user's history", "seen users")
    )
    assert again is targets
    assert np.array_equal(wrong, np.roll(own, 1, axis=0))
    assert not np.array_equal(wrong, own)
    assert not np.array_equal(others, targets)
    # Eight methods are graded on unseen users' choices and one on seen users' choices, for each of two seeds.
    assert len(graded) == 18
    assert all(chosen is graded[0] for chosen in graded[:8])
    assert graded[8] is not graded[0]
    # Equal scores count as half correct.
    assert found["unseen"].tolist() == [[0.5] * 3] * 8
    assert found["true_utility"].mean() > 0.7
