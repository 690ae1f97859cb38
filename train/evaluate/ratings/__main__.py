"""Measures accuracy on real people's ratings, by number of ratings.

    python -m train.evaluate.ratings --table FILE

The taste head ranks each person's held-out images; the measure is the share of pairs in the right order. Everything
that is learned from other people (the mean taste, item factors, the prior) comes from the training people of a fold.
Reads PrefGen's own layout (person, item, rating, and numeric features of the item if there are any) and the published
tables of LAPIS, PARA, EVA and FLICKR-AES. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from prefgen.errors import PrefGenError
from train.evaluate import plotting
from train.evaluate.statistics import Estimate, mean_over_users

from .curve import MEAN_TASTE, METHODS, CurveConfig, measure_curves
from .tables import read_table

OUT = Path("out/evaluate/ratings")
COLOURS = dict(zip((*METHODS, MEAN_TASTE), plotting.COLOURS, strict=False))


def main(argv: Sequence[str] | None = None) -> dict:
    """Run the command, and return its result."""
    parser = argparse.ArgumentParser(
        prog="python -m train.evaluate.ratings", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--table", type=Path, required=True, help="the ratings, .csv or .csv.gz")
    parser.add_argument("--seed", type=int, default=0, help="seed of the folds and of the held-out ratings")
    parser.add_argument("--folds", type=int, default=5, help="number of folds over people")
    parser.add_argument("--held-out", type=int, default=65, help="number of ratings to predict per person")
    parser.add_argument("--counts", type=int, nargs="+", default=list(CurveConfig.counts), help="numbers of ratings")
    parser.add_argument("--out", type=Path, default=OUT, help="output folder for result, table and figure")
    arguments = parser.parse_args(argv)
    torch.set_num_threads(1)  # one person's matrices are too small for several threads
    config = CurveConfig(tuple(arguments.counts), arguments.held_out, arguments.folds, arguments.seed)
    start = time.monotonic()
    try:
        table = read_table(arguments.table)
        curves = measure_curves(table, config, lambda text: print(text, file=sys.stderr, flush=True))
    except PrefGenError as error:
        parser.exit(1, f"{parser.prog}: {error}\n")
    result = summarize(curves, config) | {
        "layout": table.layout,
        "people": len(table.ratings),
        "items": table.ratings.shape[1],
        "seed": config.seed,
        "seconds": round(time.monotonic() - start, 1),
    }
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "result.json").write_text(json.dumps(result, indent=1) + "\n")
    (arguments.out / "table.md").write_text(markdown_table(result["rows"]))
    draw(result["rows"], arguments.out / "picture.png")
    print(json.dumps(result))
    return result


def summarize(curves: dict[str, dict[str, np.ndarray]], config: CurveConfig) -> dict:
    """Return the gains over the mean taste as JSON values.

    Returns:
        For each kind of ratings the gain of the population prior at each number of ratings; `below_mean`, whether it
        is anywhere below the mean taste by more than one paired standard error; and all rows.
    """
    rows, below = [], False
    for kind, methods in curves.items():
        for method, accuracies in methods.items():
            for column, count in enumerate(config.counts):
                valid = np.isfinite(accuracies[:, column])
                if valid.sum() < 2:
                    continue
                gains = accuracies[valid, column] - methods[MEAN_TASTE][valid, column]
                gain = mean_over_users(gains)
                below |= method == METHODS[0] and gain.value < -gain.stderr
                rows.append(_row(kind, method, count, float(accuracies[valid, column].mean()), gain))
    ours = [row for row in rows if row["method"] == METHODS[0]]
    gains = {kind: {str(row["ratings"]): row["gain"] for row in ours if row["kind"] == kind} for kind in curves}
    return {**gains, "below_mean": below, "rows": rows}


def _row(kind: str, method: str, count: int, accuracy: float, gain: Estimate) -> dict:
    return {
        "kind": kind,
        "method": method,
        "ratings": count,
        "accuracy": round(accuracy, 4),
        "gain": round(gain.value, 4),
        "stderr": round(gain.stderr, 4),
        "people": gain.units,
    }


def markdown_table(rows: list[dict]) -> str:
    """Return the rows as a Markdown table."""
    columns = list(rows[0])
    lines = [columns, ["---"] * len(columns), *([str(row[column]) for column in columns] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def draw(rows: list[dict], path: Path) -> None:
    """Draw the gain over the mean taste by number of ratings."""
    kinds = list(dict.fromkeys(row["kind"] for row in rows))
    figure, axes = plotting.new_figure(4.5 * len(kinds), 3.4, columns=len(kinds), sharey=True, squeeze=False)
    for axis, kind in zip(axes[0], kinds, strict=True):
        for method in METHODS:
            chosen = [row for row in rows if row["kind"] == kind and row["method"] == method]
            counts, gains = ([row[name] for row in chosen] for name in ("ratings", "gain"))
            errors = [1.96 * row["stderr"] for row in chosen]
            axis.errorbar(counts, gains, errors, color=COLOURS[method], label=method, marker="o", markersize=3)
        axis.axhline(0, color=plotting.QUIET, linewidth=1)
        axis.set_xscale("log")
        axis.set_xticks(counts, list(map(str, counts)))
        axis.minorticks_off()
        axis.set_xlabel(f"{kind} ratings", color=plotting.INK)
        plotting.clean_axes(axis)
    axes[0][0].set_ylabel("accuracy above the mean taste", color=plotting.INK)
    axes[0][0].legend(frameon=False, fontsize=8)
    figure.savefig(path, bbox_inches="tight", pad_inches=0.15)


if __name__ == "__main__":
    main()
