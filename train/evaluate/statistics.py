"""Means with honest errors: a user's answers hang together, so the user is the unit; intervals are of 95 %.

Every function takes (users,) or (users, answers) arrays; users are taken to be independent, their answers are not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
from scipy.stats import t as student

NORMAL = 1.96
"""Standard errors on each side of a 95 % interval, where there are hundreds of users."""


@dataclass(frozen=True)
class Estimate:
    """A mean with its standard error and 95 % interval. units: how many independent things (users, seeds) it is of."""

    value: float
    stderr: float
    low: float
    high: float
    units: int

    def to_json(self) -> dict[str, float]:
        """As JSON values, rounded to what can matter."""
        return {name: round(value, 5) for name, value in asdict(self).items()}

    def text(self, digits: int = 3, sign: bool = False) -> str:
        """For a table: the value and half the interval's width."""
        return f"{self.value:{'+' if sign else ''}.{digits}f} ± {(self.high - self.low) / 2:.{digits}f}"


def over_users(answers: np.ndarray) -> Estimate:
    """The mean of answers (users,) or (users, m), with the error clustered by user (each counts the same)."""
    means = np.asarray(answers, dtype=float).reshape(len(answers), -1).mean(1)
    stderr = means.std(ddof=1) / len(means) ** 0.5
    return _estimate(means.mean(), stderr, NORMAL * stderr, len(means))


def paired(first: np.ndarray, second: np.ndarray) -> Estimate:
    """first - second over the same trials: what is common to both (hard pairs, noisy choices) cancels."""
    return over_users(np.asarray(first, dtype=float) - np.asarray(second, dtype=float))


def unpaired(first: np.ndarray, second: np.ndarray) -> Estimate:
    """first - second over different users."""
    a, b = over_users(first), over_users(second)
    stderr = (a.stderr**2 + b.stderr**2) ** 0.5
    return _estimate(a.value - b.value, stderr, NORMAL * stderr, a.units + b.units)


def over_seeds(values: np.ndarray) -> Estimate:
    """The mean of one value a seed, with Student's interval: a seed is a training, or a draw of users and posters.

    Raises ValueError for fewer than two seeds, of which nothing can be said.
    """
    values = np.asarray(values, dtype=float)
    if len(values) < 2:
        raise ValueError(f"an interval over seeds needs at least 2 of them, got {len(values)}: name more seeds")
    stderr = values.std(ddof=1) / len(values) ** 0.5
    return _estimate(values.mean(), stderr, student.ppf(0.975, len(values) - 1) * stderr, len(values))


def bootstrap(
    function: Callable[..., float], *answers: np.ndarray, rng: np.random.Generator, draws: int = 2000
) -> Estimate:
    """A function of means over the same users (a ratio, say), its error by drawing users with replacement.

    function: takes one mean for each array of `answers`, arrays of means over draws alike.
    """
    means = np.stack([np.asarray(part, dtype=float).reshape(len(part), -1).mean(1) for part in answers])
    users = means.shape[1]
    counts = rng.multinomial(users, np.full(users, 1 / users), size=draws)
    drawn = function(*(counts @ part / users for part in means))
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Estimate(float(function(*means.mean(1))), float(np.std(drawn, ddof=1)), float(low), float(high), users)


def _estimate(value: float, stderr: float, half: float, units: int) -> Estimate:
    return Estimate(float(value), float(stderr), float(value - half), float(value + half), units)
