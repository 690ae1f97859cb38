"""Means with 95 % intervals, clustered by user or computed over seeds.

Functions take arrays (users,) or (users, answers). Users are treated as independent, the answers of one user are not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
from scipy.stats import t as student

NORMAL = 1.96
"""Half of a 95 % interval in standard errors, for hundreds of users."""


@dataclass(frozen=True)
class Estimate:
    """A mean with its standard error and 95 % interval.

    Attributes:
        value: The mean.
        stderr: Standard error.
        low: Lower end of the 95 % interval.
        high: Upper end of the 95 % interval.
        units: Number of independent units (users or seeds).
    """

    value: float
    stderr: float
    low: float
    high: float
    units: int

    def to_json(self) -> dict[str, float]:
        """Return JSON values, rounded to five digits."""
        return {name: round(value, 5) for name, value in asdict(self).items()}

    def text(self, digits: int = 3, sign: bool = False) -> str:
        """Format the value and half of the interval for a table."""
        return f"{self.value:{'+' if sign else ''}.{digits}f} ± {(self.high - self.low) / 2:.{digits}f}"


def mean_over_users(answers: np.ndarray) -> Estimate:
    """Compute the mean over users, each with the same weight, with the error clustered by user."""
    means = np.asarray(answers, dtype=float).reshape(len(answers), -1).mean(1)
    stderr = means.std(ddof=1) / len(means) ** 0.5
    return _estimate(means.mean(), stderr, NORMAL * stderr, len(means))


def paired_difference(first: np.ndarray, second: np.ndarray) -> Estimate:
    """Compute the mean of first - second over the same trials."""
    return mean_over_users(np.asarray(first, dtype=float) - np.asarray(second, dtype=float))


def unpaired_difference(first: np.ndarray, second: np.ndarray) -> Estimate:
    """Compute mean(first) - mean(second) for different users."""
    a, b = mean_over_users(first), mean_over_users(second)
    stderr = (a.stderr**2 + b.stderr**2) ** 0.5
    return _estimate(a.value - b.value, stderr, NORMAL * stderr, a.units + b.units)


def mean_over_seeds(values: np.ndarray) -> Estimate:
    """Compute the mean of one value for each seed, with Student's t interval.

    Raises:
        ValueError: There are fewer than two seeds.
    """
    values = np.asarray(values, dtype=float)
    if len(values) < 2:
        raise ValueError(f"an interval over seeds needs at least 2 seeds, got {len(values)}")
    stderr = values.std(ddof=1) / len(values) ** 0.5
    return _estimate(values.mean(), stderr, student.ppf(0.975, len(values) - 1) * stderr, len(values))


def bootstrap(
    function: Callable[..., float], *answers: np.ndarray, rng: np.random.Generator, draws: int = 2000
) -> Estimate:
    """Estimate a function of means over the same users, for example a ratio, with a bootstrap over users.

    Args:
        function: Takes one mean for each array of `answers`; must also accept arrays of means.
        answers: Arrays (users,) or (users, m).
        rng: Random generator.
        draws: Bootstrap resamples.
    """
    means = np.stack([np.asarray(part, dtype=float).reshape(len(part), -1).mean(1) for part in answers])
    users = means.shape[1]
    counts = rng.multinomial(users, np.full(users, 1 / users), size=draws)
    drawn = function(*(counts @ part / users for part in means))
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Estimate(float(function(*means.mean(1))), float(np.std(drawn, ddof=1)), float(low), float(high), users)


def _estimate(value: float, stderr: float, half: float, units: int) -> Estimate:
    return Estimate(float(value), float(stderr), float(value - half), float(value + half), units)
