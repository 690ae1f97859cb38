"""The gradient of a preference score to the pixels: after a history read once, against the whole sequence every time.

    make python ARGS="-m benchmarks.reno"

One iteration of ReNO needs the score of one image and its gradient to the pixels. The published procedure forwards the
whole history, images and all, with the image, and takes logits of the whole vocabulary at every position. Ours attends
to the history's keys and values, read before the first iteration and detached. peak_bytes is what the allocator held at
most above the weights, temporaries within kernels included, plus the prefix, which stays between iterations. In turns,
in one run, medians.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
from torch import Tensor

from benchmarks.geometries import GEOMETRIES, PROMPT, Geometry
from benchmarks.scoring import CLOCKS, published, seconds
from prefgen.rewards import PreferenceReward

OUT = Path(__file__).resolve().parents[1] / "out" / "benchmarks" / "reno.json"
PAIRS = (0, 1, 3, 8)
METHODS = ("whole", "prefix")
REPEATS = 5
QUICK = 3
"""The prefix's way takes hardly any time beside the whole sequence: it is measured this often in every turn."""


def pixel_gradient(judge: Callable[[Tensor], Tensor], image: Tensor) -> Tensor:
    """The gradient of `judge`'s one number to the pixels of `image` (1, 3, H, W)."""
    image = image.clone().requires_grad_()
    (grad,) = torch.autograd.grad(judge(image).sum(), image)
    return grad


def peak_bytes(work: Callable[[], object]) -> int:
    """What the allocator held at most while `work` ran, above what it held before: every buffer, kernels' own too."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        work()
        return torch.cuda.max_memory_allocated() - before
    activities = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities, profile_memory=True, acc_events=True) as profile:
        work()
    moves = [event for event in profile.profiler.kineto_results.events() if event.name() == "[memory]"]
    held = most = 0
    for event in sorted(moves, key=lambda event: event.start_ns()):
        held += event.nbytes()
        most = max(most, held)
    return most


def ways(geometry: Geometry, pairs: int) -> tuple[dict[str, Callable[[Tensor], Tensor]], int]:
    """The logit margin of one image by each method, and the bytes that the prefix takes."""
    prefdisc = geometry.prefdisc
    history = geometry.history(pairs) if pairs else None
    prefix = prefdisc.encode(history)

    def whole(image: Tensor) -> Tensor:
        return published(prefdisc, history, image).diff(dim=-1).neg()

    return {"whole": whole, "prefix": PreferenceReward(prefdisc, prefix, PROMPT, by="margin")}, prefix.bytes


def measure(geometry: Geometry, pairs: int, repeats: int, clock: Callable[[], float]) -> list[dict]:
    """A row a method: medians of `repeats` turns. gradient_difference: the largest, of any pixel; gradient_size: the
    largest gradient of the whole sequence, beside which it counts."""
    judges, kept = ways(geometry, pairs)
    image = geometry.images(1, seed=2)
    peaks, found = {}, {}
    for method, judge in judges.items():
        found[method] = pixel_gradient(judge, image)  # it also warms the allocator
        peaks[method] = peak_bytes(lambda judge=judge: pixel_gradient(judge, image))
    peaks["prefix"] += kept
    taken: dict[str, list[float]] = {method: [] for method in METHODS}
    for _ in range(repeats):
        for method in ("whole", *["prefix"] * QUICK):
            taken[method].append(seconds(lambda judge=judges[method]: pixel_gradient(judge, image), clock)[0])
    difference = (found["whole"] - found["prefix"]).abs().max().item()
    return [
        {
            "geometry": geometry.name,
            "pairs": pairs,
            "method": method,
            "peak_bytes": peaks[method],
            "seconds": round(median(taken[method]), 4),
            "prefix_bytes": kept if method == "prefix" else 0,
            "gradient_difference": difference,
            "gradient_size": found["whole"].abs().max().item(),
        }
        for method in METHODS
    ]


def ratios(rows: list[dict]) -> dict[str, float]:
    """Of one geometry: what the targets are about. Memory and time of the whole sequence over the prefix's, at the most
    pairs; and the prefix's memory at the most pairs over its memory with none."""
    most = max(row["pairs"] for row in rows)
    at = {(row["method"], row["pairs"]): row for row in rows}
    whole, ours = at["whole", most], at["prefix", most]
    found = {
        "pairs": most,
        "memory_ratio": whole["peak_bytes"] / ours["peak_bytes"],
        "time_ratio": whole["seconds"] / ours["seconds"],
        "gradient_difference": max(row["gradient_difference"] for row in rows),
    }
    if ("prefix", 0) in at:
        none = at["prefix", 0]
        found["memory_over_no_pairs"] = ours["peak_bytes"] / none["peak_bytes"]
        # Nothing that reads a kept prefix can be below this.
        found["memory_over_no_pairs_limit"] = 1 + (ours["prefix_bytes"] - none["prefix_bytes"]) / none["peak_bytes"]
    return {name: value if name == "gradient_difference" else round(value, 3) for name, value in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--geometries", nargs="+", choices=list(GEOMETRIES), default=["idefics2-tokens"])
    parser.add_argument("--pairs", nargs="+", type=int, default=list(PAIRS))
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--clock", choices=list(CLOCKS), default="wall", help="processor: on a machine with other work")
    given = parser.parse_args()
    if given.repeats < 1 or min(given.pairs) < 0:
        parser.error(
            f"{given.repeats} repeats and {min(given.pairs)} pairs: give at least 1 repeat and no fewer than 0 pairs"
        )
    rows, found = [], {}
    print(f"{'geometry':18}{'pairs':>6}{'method':>8}{'peak, MB':>12}{'seconds':>10}{'gradients differ by':>22}")
    for name in given.geometries:
        geometry = GEOMETRIES[name]()
        for pairs in given.pairs:
            for row in measure(geometry, pairs, given.repeats, CLOCKS[given.clock]):
                rows.append(row)
                print(
                    f"{name:18}{pairs:6}{row['method']:>8}{row['peak_bytes'] / 1e6:12.1f}{row['seconds']:10.3f}"
                    f"{row['gradient_difference']:14.1e} of {row['gradient_size']:.0e}",
                    flush=True,
                )
        found[name] = ratios([row for row in rows if row["geometry"] == name])
    result = {"rows": rows, "ratios": found, "clock": given.clock, "threads": torch.get_num_threads()}
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
