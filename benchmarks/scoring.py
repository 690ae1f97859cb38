"""Times scoring candidates after a history of 8 pairs, compared with the published procedure and with no history.

    make python ARGS="-m benchmarks.scoring"

For every candidate, the published procedure processes the whole history again, including its images, and computes the
logits of the whole vocabulary at every position. Ours encodes the history once and lets all candidates attend to it.
The limit is scoring the candidates without a history. The procedures alternate in one run; values are medians.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from statistics import median

import torch
from torch import Tensor

from benchmarks.geometries import GEOMETRIES, PROMPT, Geometry
from benchmarks.report import write_report
from prefgen.history import UserHistory
from prefgen.prefdisc.model import PrefDisc
from prefgen.prefdisc.prefix import HistoryPrefix

PAIRS = 8
CANDIDATES = (1, 8, 32, 128)
REPEATS = {1: 7, 8: 5, 32: 3, 128: 1}
FAST_REPEATS = 3
"""Number of measurements per turn of everything except the slow published procedure."""

CLOCKS = {"wall": time.perf_counter, "processor": time.process_time}
"""Use processor time, with one thread, if other processes are running."""


def published(prefdisc: PrefDisc, history: UserHistory | None, candidates: Tensor) -> Tensor:
    """Compute (M+, M-) of every candidate, (B, 2), with the published procedure and our token ids."""
    template, base = prefdisc.template, prefdisc.base
    pairs = history.pairs if history else ()
    history_ids = list(template.opening_ids)
    for pair in pairs:
        history_ids += [*template.labelled_turn(pair.prompt, True), *template.labelled_turn(pair.prompt, False)]
    history_images = [image for pair in pairs for image in (pair.liked, pair.disliked)]
    ids = torch.tensor([[*history_ids, *template.unlabelled_turn(PROMPT)]])
    label_logits = []
    for candidate in candidates:
        features = prefdisc.features(torch.stack([*history_images, candidate]))
        embedded = base.get_input_embeddings()(ids).masked_scatter((ids == template.image_id)[..., None], features)
        logits = base(inputs_embeds=torch.cat([prefdisc.tokens[None], embedded], dim=1), use_cache=False).logits
        label_logits.append(logits[0, -1, list(template.label_ids)])
    return torch.stack(label_logits)


def seconds(work: Callable[[], object], clock: Callable[[], float]) -> tuple[float, object]:
    """Return the duration and the result of `work`."""
    start = clock()
    result = work()
    return clock() - start, result


@torch.no_grad()
def measure(geometry: Geometry, candidates: int, repeats: int, clock: Callable[[], float]) -> dict:
    """Measure one row: medians over `repeats` turns.

    In each turn, the published procedure runs once and the other procedures run several times.
    """
    prefdisc, history = geometry.prefdisc, geometry.history(PAIRS)
    images = geometry.images(candidates, seed=2)
    width = prefdisc.tokens.shape[1]
    no_history = HistoryPrefix((), torch.zeros(0, width), 0)
    prefix = prefdisc.encode(history)
    work = {
        "naive_s": lambda: published(prefdisc, history, images),
        "prefix_s": lambda: prefdisc.encode(history),
        "ours_s": lambda: prefdisc.logits(prefix, images, PROMPT),
        "limit_s": lambda: prefdisc.logits(no_history, images, PROMPT),
    }
    work["ours_s"](), work["limit_s"]()  # warm-up
    durations: dict[str, list[float]] = {name: [] for name in work}
    results = {}
    fast = ["prefix_s", "ours_s", "limit_s"]
    for _ in range(repeats):
        for name in ["naive_s", *fast * FAST_REPEATS]:
            duration, results[name] = seconds(work[name], clock)
            durations[name].append(duration)
    row = {name: median(values) for name, values in durations.items()}
    row["ratio"] = row["naive_s"] / row["ours_s"]
    row["ratio_with_prefix"] = row["naive_s"] / (row["prefix_s"] + row["ours_s"])
    row["ours_over_limit"] = median(
        ours / limit for ours, limit in zip(durations["ours_s"], durations["limit_s"], strict=True)
    )
    difference = (results["naive_s"] - results["ours_s"]).abs().max().item()
    spread = results["naive_s"].std(0).mean().item() if candidates > 1 else None
    tokens = {"history_tokens": prefix.length, "candidate_tokens": len(prefdisc.template.unlabelled_turn(PROMPT))}
    return {
        "geometry": geometry.name,
        "candidates": candidates,
        **{name: round(value, 4) for name, value in row.items()},
        "max_abs_diff": difference,
        "logits_std": spread,
        **tokens,
        "repeats": repeats,
    }


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--geometries", nargs="+", choices=list(GEOMETRIES), default=list(GEOMETRIES)[:2])
    parser.add_argument("--candidates", nargs="+", type=int, default=list(CANDIDATES))
    parser.add_argument("--repeats", type=int, help="turns per row (default: depends on the candidates)")
    parser.add_argument(
        "--clock", choices=list(CLOCKS), default="wall", help="use processor time if other processes are running"
    )
    arguments = parser.parse_args()
    columns = ("naive_s", "prefix_s", "ours_s", "limit_s", "ratio", "ratio_with_prefix", "ours_over_limit")
    print(f"{'geometry':16}{'candidates':>11}" + "".join(f"{name:>18}" for name in columns) + f"{'max_abs_diff':>14}")
    rows = []
    for name in arguments.geometries:
        geometry = GEOMETRIES[name]()
        for candidates in arguments.candidates:
            row = measure(
                geometry, candidates, arguments.repeats or REPEATS.get(candidates, 3), CLOCKS[arguments.clock]
            )
            rows.append(row)
            values = "".join(f"{row[column]:18.3f}" for column in columns)
            print(f"{row['geometry']:16}{candidates:11}{values}{row['max_abs_diff']:14.1e}", flush=True)
    result = {"rows": rows, "clock": arguments.clock, "threads": torch.get_num_threads(), "torch": torch.__version__}
    write_report("scoring", result)


if __name__ == "__main__":
    main()
