"""Tests the picture metrics on cases with known values, and the choice of the strength."""

import numpy as np
import pytest

from train.evaluate.generation.strength import choose_strength
from train.evaluate.pictures.metrics import cmmd, frechet, mean_cosine, spread, wins

rng = np.random.default_rng(0)


def test_frechet_is_the_distance_of_gaussians():
    a = rng.normal(size=(400, 5))
    assert frechet(a, a) == pytest.approx(0, abs=1e-9)
    assert frechet(a, a + 2) == pytest.approx(5 * 4)
    # Scaled by 3 around the mean: the standard deviations differ by 2 in every direction.
    wide = a.mean(0) + 3 * (a - a.mean(0))
    assert frechet(a, wide) == pytest.approx(4 * np.trace(np.cov(a, rowvar=False)))
    turned = np.linalg.qr(rng.normal(size=(5, 5)))[0]
    assert frechet(a @ turned, wide @ turned) == pytest.approx(frechet(a, wide))


def test_frechet_of_fewer_images_than_features_is_a_number():
    assert np.isfinite(frechet(rng.normal(size=(6, 20)), rng.normal(size=(9, 20))))


def test_cmmd_is_as_published():
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in rng.normal(size=(2, 7, 4)))

    def kernel(x, y):
        return np.mean([[np.exp(-np.sum((p - q) ** 2) / 200) for q in y] for p in x])

    assert cmmd(a, b) == pytest.approx(1000 * (kernel(a, a) + kernel(b, b) - 2 * kernel(a, b)))
    assert cmmd(a, a) == pytest.approx(0, abs=1e-9)
    assert cmmd(a, -a) > cmmd(a, b) > 0


def test_a_tie_is_half_a_win():
    assert wins(np.array([2.0, 1.0, 0.0]), np.array([1.0, 1.0, 1.0])).tolist() == [1, 0.5, 0]


def test_spread_is_the_mean_distance_between_seeds():
    three = np.array([[[0.0, 0.0], [3.0, 4.0], [0.0, 0.0]]])
    assert spread(three) == pytest.approx([(5 + 0 + 5) / 3])


def test_cosine_with_each_agents_own():
    one = np.array([[[2.0, 0.0]], [[0.0, 1.0]]])
    several = np.array([[[5.0, 0.0], [0.0, 1.0]], [[0.0, 3.0], [0.0, 1.0]]])
    assert mean_cosine(one, several).tolist() == [[0.5], [1.0]]


def test_a_strength_is_chosen_that_keeps_the_prompt():
    wins, obedience = {1.0: 0.6, 2.0: 0.8, 3.0: 0.9}, {1.0: 0.50, 2.0: 0.48, 3.0: 0.30}
    assert choose_strength(wins, obedience, plain=0.5) == 2.0
    assert choose_strength(wins, obedience, plain=0.1) == 3.0
    assert choose_strength(wins, obedience, plain=2.0) == 1.0, "no strength keeps the prompt: the smallest"
