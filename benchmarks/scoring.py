"""Scoring candidates for a history of 8 pairs: against the published procedure, and against no history at all.

    make python ARGS="-m benchmarks.scoring"

The published procedure forwards the whole history, images and all, again for every candidate, and takes logits of the
whole vocabulary at every position. Ours reads the history once and lets all candidates attend to it. The limit is the
candidates' own tokens (their images too) with no history: nothing can be faster. All in turns, in one run, medians.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
from torch import Tensor

from benchmarks.geometries import GEOMETRIES, PROMPT, Geometry
from prefgen.history import UserHistory
from prefgen.prefdisc.model import PrefDisc
from prefgen.prefdisc.prefix import HistoryPrefix

OUT = Path(__file__).resolve().parents[1] / "out" / "benchmarks" / "scoring.json"
PAIRS = 8
CANDIDATES = (1, 8, 32, 128)
REPEATS = {1: 7, 8: 5, 32: 3, 128: 1}
QUICK = 3
"""What takes hardly any time beside the published procedure is measured this often in every turn."""

CLOCKS = {"wall": time.perf_counter, "processor": time.process_time}
"""On a machine with other work only the processor's time says what one's own took; give it one thread then."""


def published(prefdisc: PrefDisc, history: UserHistory | None, candidates: Tensor) -> Tensor:
    """(M+, M-) of every candidate (B, 2), by the published procedure, with our token ids and preference tokens."""
    turns, base = prefdisc.turns, prefdisc.base
    pairs = history.pairs if history else ()
    before = list(turns.opening)
    for pair in pairs:
        before += [*turns.rated(pair.prompt, True), *turns.rated(pair.prompt, False)]
    shown = [image for pair in pairs for image in (pair.liked, pair.disliked)]
    ids = torch.tensor([[*before, *turns.open(PROMPT)]])
    read = []
    for candidate in candidates:
        features = prefdisc.features(torch.stack([*shown, candidate]))
        embedded = base.get_input_embeddings()(ids).masked_scatter((ids == turns.image_id)[..., None], features)
        logits = base(inputs_embeds=torch.cat([prefdisc.tokens[None], embedded], dim=1), use_cache=False).logits
        read.append(logits[0, -1, list(turns.label_ids)])
    return torch.stack(read)


def seconds(work: Callable[[], object], clock: Callable[[], float]) -> tuple[float, object]:
    began = clock()
    result = work()
    return clock() - began, result


@torch.no_grad()
def measure(geometry: Geometry, candidates: int, repeats: int, clock: Callable[[], float]) -> dict:
    """One row: medians of `repeats` turns, each of the published procedure once and of the rest a few times."""
    prefdisc, history = geometry.prefdisc, geometry.history(PAIRS)
    images = geometry.images(candidates, seed=2)
    width = prefdisc.tokens.shape[1]
    nothing = HistoryPrefix((), torch.zeros(0, width), 0)
    prefix = prefdisc.encode(history)
    work = {
        "naive_s": lambda: published(prefdisc, history, images),
        "prefix_s": lambda: prefdisc.encode(history),
        "ours_s": lambda: prefdisc.logits(prefix, images, PROMPT),
        "limit_s": lambda: prefdisc.logits(nothing, images, PROMPT),
    }
    work["ours_s"](), work["limit_s"]()  # the first call of each shape warms the allocator
    taken: dict[str, list[float]] = {name: [] for name in work}
    found = {}
    quick = ["prefix_s", "ours_s", "limit_s"]
    for _ in range(repeats):
        for name in ["naive_s", *quick * QUICK]:
            spent, found[name] = seconds(work[name], clock)
            taken[name].append(spent)
    row = {name: median(values) for name, values in taken.items()}
    row["ratio"] = row["naive_s"] / row["ours_s"]
    row["ratio_with_prefix"] = row["naive_s"] / (row["prefix_s"] + row["ours_s"])
    row["ours_over_limit"] = median(ours / limit for ours, limit in zip(taken["ours_s"], taken["limit_s"], strict=True))
    difference = (found["naive_s"] - found["ours_s"]).abs().max().item()
    spread = found["naive_s"].std(0).mean().item() if candidates > 1 else None
    tokens = {"history_tokens": prefix.length, "candidate_tokens": len(prefdisc.turns.open(PROMPT))}
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
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--geometries", nargs="+", choices=list(GEOMETRIES), default=list(GEOMETRIES)[:2])
    parser.add_argument("--candidates", nargs="+", type=int, default=list(CANDIDATES))
    parser.add_argument("--repeats", type=int, help="turns for every row (default: by the number of candidates)")
    parser.add_argument("--clock", choices=list(CLOCKS), default="wall", help="processor: on a machine with other work")
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
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
