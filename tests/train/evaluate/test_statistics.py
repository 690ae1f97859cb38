"""Tests standard errors and intervals against repeated experiments."""

import numpy as np
import pytest

from train.evaluate.statistics import (
    bootstrap,
    mean_over_seeds,
    mean_over_users,
    paired_difference,
    unpaired_difference,
)


def experiment(rng, users=200, answers=10):
    """Draw answers of users with different accuracies."""
    return rng.random((users, answers)) < rng.beta(2, 1, (users, 1))


def test_the_error_is_clustered_by_user():
    rng = np.random.default_rng(0)
    repeated = [mean_over_users(experiment(rng)) for _ in range(400)]
    spread = np.std([found.value for found in repeated])
    # 400 repeats determine the spread to 4 %; errors for independent answers would be 40 % smaller.
    assert np.mean([found.stderr for found in repeated]) == pytest.approx(spread, rel=0.12)
    covered = np.mean([found.low <= 2 / 3 <= found.high for found in repeated])
    assert covered == pytest.approx(0.95, abs=0.035)  # three standard errors of 400 repeats


def test_what_is_common_cancels_in_a_paired_difference():
    rng = np.random.default_rng(1)
    first = rng.random((500, 8)) < rng.random((500, 1))
    second = first & (rng.random((500, 8)) < 0.95)
    assert paired_difference(first, second).value == pytest.approx(unpaired_difference(first, second).value)
    assert paired_difference(first, second).stderr < unpaired_difference(first, second).stderr / 2


def test_an_interval_over_seeds_is_students():
    found = mean_over_seeds([0.7, 0.72, 0.74])
    assert (found.value, found.units) == (pytest.approx(0.72), 3)
    # t(0.975, 2) = 4.303 standard errors, not 1.96.
    assert found.high - found.value == pytest.approx(4.3027 * 0.02 / 3**0.5, rel=1e-4)
    with pytest.raises(ValueError, match="at least 2"):
        mean_over_seeds([0.7])


def test_a_ratio_is_bootstrapped_by_user():
    rng = np.random.default_rng(2)
    base, top = rng.random((800, 4)) < 0.6, rng.random((800, 4)) < 0.8
    found = bootstrap(lambda a, b: a / b, base, top, rng=rng)
    a, b = mean_over_users(base), mean_over_users(top)
    by_delta = found.value * ((a.stderr / a.value) ** 2 + (b.stderr / b.value) ** 2) ** 0.5
    assert found.value == pytest.approx(a.value / b.value)
    assert found.stderr == pytest.approx(by_delta, rel=0.15)
    assert found.low < found.value < found.high


def test_texts_for_tables():
    assert mean_over_users(np.array([0.0, 1.0, 1.0, 1.0])).text(2) == "0.75 ± 0.49"
    assert mean_over_users(np.array([0.1, 0.3])).text(1, sign=True).startswith("+0.2 ± ")
