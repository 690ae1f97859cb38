"""The benchmark of the gradient to the pixels on a tiny model: its rows, what it counts, and that both sides agree."""

import time

import torch

from benchmarks.geometries import Geometry
from benchmarks.reno import measure, peak_bytes, ratios
from tests.prefgen import tiny

KEYS = {"pairs", "method", "peak_bytes", "seconds", "gradient_difference"}


def test_the_peak_is_what_the_allocator_held_at_once():
    def work():
        first = torch.zeros(2**20)
        second = first + 1
        del first
        third = second + 1
        return third.sum()

    # two of 4 MiB at a time, never three, and a few numbers
    assert 0 <= peak_bytes(work) - 2 * 2**22 < 2**12


def test_rows_hold_what_was_asked_for_and_both_agree():
    geometry = Geometry("tiny", tiny.prefdisc().requires_grad_(False), 24)
    rows = [row for pairs in (0, 3) for row in measure(geometry, pairs, repeats=1, clock=time.perf_counter)]
    assert [(row["pairs"], row["method"]) for row in rows] == [(0, "whole"), (0, "prefix"), (3, "whole"), (3, "prefix")]
    for row in rows:
        assert set(row) >= KEYS
        # float32 through four layers of weights six times the usual, summed in another order
        assert row["gradient_difference"] < 1e-4 * row["gradient_size"]
    found = ratios(rows)
    assert found["pairs"] == 3
    assert found["memory_ratio"] > 1, "a history that is attended to takes less than one that is forwarded"
    assert found["memory_over_no_pairs"] >= found["memory_over_no_pairs_limit"] - 0.05
