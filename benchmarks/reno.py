"""Measures the memory and time for computing the gradient of a preference score with respect to the pixels.

    make python ARGS="-m benchmarks.reno"

One iteration of ReNO needs the score of one image and its gradient. The published procedure ("whole") runs a forward
pass on the whole history together with the image, and computes logits of the whole vocabulary at every position. Ours
("prefix") attends to the history's cached keys and values, which are computed before the first iteration and detached.
peak_bytes is the peak of the allocator above the weights, including temporary buffers, plus the prefix, which stays
between iterations. The two methods alternate in one run; times are medians.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from statistics import median

import torch
from torch import Tensor

from benchmarks.geometries import GEOMETRIES, PROMPT, Geometry
from benchmarks.report import write_report
from benchmarks.scoring import CLOCKS, published, seconds
from prefgen.rewards import PreferenceReward

PAIRS = (0, 1, 3, 8)
METHODS = ("whole", "prefix")
REPEATS = 5
QUICK = 3
"""Number of measurements of the prefix method per turn. It is much faster than processing the whole sequence."""


def pixel_gradient(score: Callable[[Tensor], Tensor], image: Tensor) -> Tensor:
    """Return the gradient of a score with respect to the pixels of an image (1, 3, H, W)."""
    image = image.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(score(image).sum(), image)
    return gradient


def peak_bytes(function: Callable[[], object]) -> int:
    """Return how many bytes a function allocates at its peak, including temporary buffers of kernels."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        function()
        return torch.cuda.max_memory_allocated() - before
    activities = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities, profile_memory=True, acc_events=True) as profile:
        function()
    events = [event for event in profile.profiler.kineto_results.events() if event.name() == "[memory]"]
    allocated = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        allocated += event.nbytes()
        peak = max(peak, allocated)
    return peak


def score_functions(geometry: Geometry, pairs: int) -> tuple[dict[str, Callable[[Tensor], Tensor]], int]:
    """Return the functions that compute the logit margin by each method, and the size of the prefix in bytes."""
    prefdisc = geometry.prefdisc
    history = geometry.history(pairs) if pairs else None
    prefix = prefdisc.encode(history)

    def whole(image: Tensor) -> Tensor:
        return published(prefdisc, history, image).diff(dim=-1).neg()

    return {"whole": whole, "prefix": PreferenceReward(prefdisc, prefix, PROMPT, objective="margin")}, prefix.nbytes


def measure(geometry: Geometry, pairs: int, repeats: int, clock: Callable[[], float]) -> list[dict]:
    """Measure both methods, and return one row for each.

    Times are medians of `repeats` turns. gradient_difference is the largest difference between the methods in a pixel's
    gradient. gradient_size is the largest gradient in the method "whole".
    """
    scores, prefix_bytes = score_functions(geometry, pairs)
    image = geometry.images(1, seed=2)
    peaks, gradients = {}, {}
    for method, score in scores.items():
        gradients[method] = pixel_gradient(score, image)  # This also warms up the allocator.
        peaks[method] = peak_bytes(lambda score=score: pixel_gradient(score, image))
    peaks["prefix"] += prefix_bytes
    times: dict[str, list[float]] = {method: [] for method in METHODS}
    for _ in range(repeats):
        for method in ("whole", *["prefix"] * QUICK):
            times[method].append(seconds(lambda score=scores[method]: pixel_gradient(score, image), clock)[0])
    difference = (gradients["whole"] - gradients["prefix"]).abs().max().item()
    return [
        {
            "geometry": geometry.name,
            "pairs": pairs,
            "method": method,
            "peak_bytes": peaks[method],
            "seconds": round(median(times[method]), 4),
            "prefix_bytes": prefix_bytes if method == "prefix" else 0,
            "gradient_difference": difference,
            "gradient_size": gradients["whole"].abs().max().item(),
        }
        for method in METHODS
    ]


def ratios(rows: list[dict]) -> dict[str, float]:
    """Return the ratios of one geometry for which there are targets.

    These are the memory and time of the whole sequence relative to the prefix method at the largest number of pairs,
    and the prefix method's memory at that number relative to its memory without pairs.
    """
    most = max(row["pairs"] for row in rows)
    at = {(row["method"], row["pairs"]): row for row in rows}
    whole, ours = at["whole", most], at["prefix", most]
    result = {
        "pairs": most,
        "memory_ratio": whole["peak_bytes"] / ours["peak_bytes"],
        "time_ratio": whole["seconds"] / ours["seconds"],
        "gradient_difference": max(row["gradient_difference"] for row in rows),
    }
    if ("prefix", 0) in at:
        none = at["prefix", 0]
        result["memory_over_no_pairs"] = ours["peak_bytes"] / none["peak_bytes"]
        # No method that keeps the prefix can be below this.
        result["memory_over_no_pairs_limit"] = 1 + (ours["prefix_bytes"] - none["prefix_bytes"]) / none["peak_bytes"]
    return {name: value if name == "gradient_difference" else round(value, 3) for name, value in result.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--geometries", nargs="+", choices=list(GEOMETRIES), default=["idefics2-tokens"])
    parser.add_argument("--pairs", nargs="+", type=int, default=list(PAIRS))
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--clock", choices=list(CLOCKS), default="wall", help="use processor time on a busy machine")
    options = parser.parse_args()
    if options.repeats < 1 or min(options.pairs) < 0:
        parser.error(f"repeats is {options.repeats}, pairs is {min(options.pairs)}; expected repeats >= 1, pairs >= 0.")
    rows, ratios_by_geometry = [], {}
    print(f"{'geometry':18}{'pairs':>6}{'method':>8}{'peak, MB':>12}{'seconds':>10}{'gradients differ by':>22}")
    for name in options.geometries:
        geometry = GEOMETRIES[name]()
        for pairs in options.pairs:
            for row in measure(geometry, pairs, options.repeats, CLOCKS[options.clock]):
                rows.append(row)
                print(
                    f"{name:18}{pairs:6}{row['method']:>8}{row['peak_bytes'] / 1e6:12.1f}{row['seconds']:10.3f}"
                    f"{row['gradient_difference']:14.1e} of {row['gradient_size']:.0e}",
                    flush=True,
                )
        ratios_by_geometry[name] = ratios([row for row in rows if row["geometry"] == name])
    result = {"rows": rows, "ratios": ratios_by_geometry, "clock": options.clock, "threads": torch.get_num_threads()}
    write_report("reno", result)


if __name__ == "__main__":
    main()
