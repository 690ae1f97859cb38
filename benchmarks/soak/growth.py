"""Estimates the growth of memory over time."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean

from scipy.stats import linregress, t

MAX_GROWTH = 0.2
"""Maximum accepted upper bound of the growth, in MiB per minute."""


@dataclass(frozen=True)
class Sample:
    """A measurement, `minutes` after the start."""

    minutes: float
    resident_mib: float
    open_files: int


def growth_bound(samples: Sequence[Sample]) -> tuple[float | None, float | None]:
    """Fit a line through the mean memory of each minute.

    Returns:
        The slope and the upper end of its two-sided 95 % confidence interval, in MiB per minute. Both are None for
        fewer than three minutes.
    """
    by_minute = defaultdict(list)
    for sample in samples:
        by_minute[int(sample.minutes)].append(sample.resident_mib)
    if len(by_minute) < 3:
        return None, None
    fit = linregress(list(by_minute), [mean(values) for values in by_minute.values()])
    margin = t.ppf(0.975, len(by_minute) - 2) * fit.stderr
    return round(float(fit.slope), 3), round(float(fit.slope + margin), 3)
