"""Tests the regressions and the ideal observer."""

import numpy as np
import pytest

from train.data.limits import bradley_terry, ideal_observer
from train.data.posterior import differences
from train.evaluate.accuracy import correct_choices
from train.evaluate.baselines import (
    attribute_scores,
    choose_penalties,
    clip_features,
    clip_scores,
    feature_bradley_terry,
    ideal_scores,
    scores_from_pairs,
)
from train.evaluate.choice_trials import draw_trials


def test_the_regression_on_features_is_the_one_on_attributes(gallery, trials):
    see = gallery.attributes
    hot = differences(np.stack([see, np.zeros_like(see)], axis=1))  # (N, 24): one-hot minus a constant, which cancels
    found = feature_bradley_terry(hot[trials.history], hot[trials.targets], 0.3)
    assert found == pytest.approx(bradley_terry(see[trials.history], see[trials.targets], 0.3), abs=1e-6)


def test_sets_are_ranked_by_what_they_beat():
    values = np.random.default_rng(0).normal(size=(6, 3, 4, 1))

    def predict(_, pairs):
        return 1 / (1 + np.exp(-(pairs[..., 0, 0] - pairs[..., 1, 0])))

    scores = scores_from_pairs(predict, np.zeros((6, 0, 2, 1)), values)
    assert (scores.argsort(-1) == values[..., 0].argsort(-1)).all()
    assert scores.sum(-1) == pytest.approx(6), "six comparisons, one point each"


def test_limits_keep_their_order(world, gallery):
    rng = np.random.default_rng(3)
    trials = draw_trials(world, gallery, world.sample(300, rng)[0], 6, rng)
    methods = [trials.truth, ideal_scores(world, gallery, trials, rng), attribute_scores(gallery, trials, 0.3)]
    best, ideal, regression = (correct_choices(scores, trials.chosen).mean() for scores in methods)
    assert best > ideal + 0.03
    assert ideal > regression + 0.03  # it knows the groups; with 1,800 choices, 0.03 is over two standard errors
    nothing = ideal_scores(world, gallery, trials, rng, after=0)
    assert ideal > correct_choices(nothing, trials.chosen).mean() + 0.03
    see = gallery.attributes
    pairs = ideal_observer(world, see[trials.history[:20]], see[trials.targets[:20]], rng)
    # Two samples of its particles: standard error .003 each; the tolerance is for the largest of 120 differences.
    assert ideal_scores(world, gallery, trials, rng)[:20, :, 0] == pytest.approx(pairs, abs=0.04)


def test_clip_regression_reads_something(world, gallery):
    rng = np.random.default_rng(4)
    trials = draw_trials(world, gallery, world.sample(300, rng)[0], 6, rng)
    features = clip_features(gallery)
    assert np.linalg.norm(features, axis=1) == pytest.approx(1, abs=1e-4)
    own = correct_choices(clip_scores(features, trials, 3.0), trials.chosen)
    other = correct_choices(clip_scores(features, trials.with_history_of_others(), 3.0), trials.chosen)
    assert own.mean() > other.mean() + 0.03


def test_penalties_are_chosen_elsewhere(world, few):
    chosen = choose_penalties(world)
    assert chosen == choose_penalties(world), "the choice is deterministic"
    assert chosen.attributes > 0
    assert chosen.clip > 0
