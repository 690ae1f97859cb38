"""Tests the scoring benchmark on a tiny model: its rows, and that both procedures agree."""

import time

from benchmarks.geometries import Geometry
from benchmarks.scoring import measure
from tests.prefgen import tiny

KEYS = {
    "geometry",
    "candidates",
    "naive_s",
    "prefix_s",
    "ours_s",
    "ratio",
    "ratio_with_prefix",
    "limit_s",
    "max_abs_diff",
}


def test_a_row_holds_what_was_asked_for_and_both_agree():
    geometry = Geometry("tiny", tiny.prefdisc().requires_grad_(False), 24)
    row = measure(geometry, candidates=4, repeats=1, clock=time.perf_counter)
    assert set(row) >= KEYS
    assert row["ratio"] > 1, "encoding the history once is faster than four times"
    # float32 sums in another order: the difference must be small compared with the differences between candidates.
    assert row["max_abs_diff"] < 0.05 * row["logits_std"]
