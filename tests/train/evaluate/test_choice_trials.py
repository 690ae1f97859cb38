"""Tests the choice trials: held-out posters, unseen users, and choices that follow the simulator."""

import numpy as np
import pytest

from train.data.agents import training_users, utility_of
from train.data.posters import combinations
from train.evaluate.accuracy import correct_choices, top_k_hits
from train.evaluate.choice_trials import draw_gallery, draw_trials
from train.evaluate.seed_samples import sample_seeds


def test_posters_are_of_test_combinations(gallery):
    known = set(map(tuple, combinations("test").reshape(-1, 6).tolist()))
    assert set(map(tuple, gallery.attributes.tolist())) <= known
    assert len(np.unique(gallery.attributes, axis=0)) == len(gallery.attributes) == 48
    assert (gallery.attributes[:, 0] == np.repeat(np.arange(12), 4)).all(), "sorted by subject"
    assert gallery.prompts(np.array([[0, 47]])).tolist() == [["a sun", "a fish"]]


def test_validation_posters_are_others():
    other = draw_gallery(np.random.default_rng(0), per_subject=4, split="validation").attributes
    known = set(map(tuple, combinations("test").reshape(-1, 6).tolist()))
    assert not known & set(map(tuple, other.tolist()))


@pytest.mark.parametrize("choices", [2, 4])
def test_sets_are_of_different_posters_of_one_subject(world, gallery, choices):
    rng = np.random.default_rng(0)
    trials = draw_trials(world, gallery, world.sample(30, rng)[0], 20, rng, choices=choices)
    subjects = gallery.attributes[trials.targets, 0]
    assert (subjects == subjects[..., :1]).all()
    assert (np.diff(np.sort(trials.targets, axis=-1)) > 0).all()
    assert (trials.history[..., 0] != trials.history[..., 1]).all()
    # Every position of a set is equally likely to be chosen (600 choices: 3.5 standard deviations).
    counts = np.bincount(trials.chosen.ravel(), minlength=choices)
    assert np.abs(counts - 600 / choices).max() < 3.5 * (600 / choices) ** 0.5


def test_choices_follow_the_simulator(world, gallery):
    rng = np.random.default_rng(1)
    trials = draw_trials(world, gallery, world.sample(400, rng)[0], 10, rng)
    gap = trials.truth[..., 0] - trials.truth[..., 1]
    assert (trials.truth == utility_of(trials.utilities[:, None, None], gallery.attributes[trials.targets])).all()
    likely = world.probability(gap)
    for low, high in ((0, 0.3), (0.3, 0.7), (0.7, 1)):
        among = (likely >= low) & (likely <= high)
        # About 1,000 choices each: 0.06 is four standard errors.
        assert (trials.chosen[among] == 0).mean() == pytest.approx(likely[among].mean(), abs=0.06)
    u = utility_of(trials.utilities[:, None, None], gallery.attributes[trials.history])
    assert (u[..., 0] > u[..., 1]).mean() > 0.8, "the liked image comes first"


def test_users_are_of_the_pool_or_of_no_training(world):
    pool = {row.tobytes() for row in training_users(world)}
    first, second = sample_seeds(world, 21, [4, 5], per_subject=4)
    for sample in (first, second):
        assert all(row.tobytes() in pool for row in sample.seen)
        assert not any(row.tobytes() in pool for row in sample.unseen)
    assert len(first.seen) + len(second.seen) == len(np.unique(np.concatenate([first.seen, second.seen]), axis=0)) == 21
    assert not np.array_equal(first.gallery.images, second.gallery.images)
    assert np.array_equal(next(iter(sample_seeds(world, 21, [4, 5], per_subject=4))).unseen, first.unseen), (
        "a seed is a seed"
    )


def test_another_users_history(trials):
    other = trials.with_history_of_others()
    assert np.array_equal(other.history[1], trials.history[0])
    assert other.targets is trials.targets


def test_ties_count_as_guesses():
    scores = np.array([[0.9, 0.1, 0.1, 0.1], [0.1, 0.9, 0.1, 0.1], [0.5, 0.5, 0.5, 0.5]])
    chosen = np.zeros(3, dtype=int)
    assert correct_choices(scores, chosen).tolist() == [1, 0, 0.25]
    # In the second set, one is better and three are tied, so it is second best with probability 1/3.
    assert top_k_hits(scores, chosen, 2).tolist() == pytest.approx([1, 1 / 3, 0.5])
    assert top_k_hits(scores, chosen, 4).tolist() == [1, 1, 1]
