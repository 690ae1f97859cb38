"""Measures top-k accuracy for one liked image among three disliked ones.

    python -m train.evaluate.topk

Paper index section 2 (001 table 2, 003 table 3). The user chose the liked image from four posters of one subject.
"""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from train.evaluate import plotting
from train.evaluate.accuracy import top_k_hits
from train.evaluate.choice_trials import PAIRS
from train.evaluate.command import CLUSTERED_NOTE, Options, Report, run_command
from train.evaluate.method_comparison import METHODS, evaluate_methods
from train.evaluate.statistics import Estimate, mean_over_users, paired_difference

USERS, SETS, SIZE = 1500, 6, 4
"""Users of each kind; sets of each user; images in a set (four, as in the paper)."""
TOP_K = (1, 2, 3)
LABEL_BOX = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}


def _hits(scores: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    return np.stack([top_k_hits(scores, chosen, k) for k in TOP_K], axis=-1)


def measure(options: Options) -> Report:
    """Measure all methods on the same sets."""
    grades = evaluate_methods(options, SETS, SIZE, _hits)
    accuracy = {name: [mean_over_users(values[..., i]) for i in range(len(TOP_K))] for name, values in grades.items()}
    gain = paired_difference(grades["unseen"][..., 0], grades["wrong_history"][..., 0])
    result = {
        **{
            name: {f"top_{k}": estimate.to_json() for k, estimate in zip(TOP_K, row, strict=True)}
            for name, row in accuracy.items()
        },
        "unseen_minus_wrong_history_top_1": gain.to_json(),
        "users": options.users,
        "sets": int(grades["unseen"][..., 0].size),
        "checkpoint": options.checkpoint,
    }
    rows = [(METHODS[name][0], *(e.text() for e in accuracy[name])) for name in METHODS]
    rows.append(("chance", *(f"{k / SIZE:.3f}" for k in TOP_K)))
    measured = (
        f"One liked image against three disliked ones after {PAIRS} pairs: is the liked one among the best 1, 2 or 3 "
        f"by score? {options.users:,} unseen and as many seen users, {SETS} sets each. Posters have the attribute "
        f"combinations of the test split and are drawn anew for {options.seeds_text}. {CLUSTERED_NOTE} Choices among "
        "four follow Luce's model. The ideal observer ranks images by how many of the other three it expects them to "
        "beat."
    )
    notes = [f"Top-1 accuracy with the user's own history minus another user's: {gain.text(sign=True)}, paired."]
    columns = ("method", *(f"top-{k}" for k in TOP_K))
    return Report("Top-k accuracy", measured, columns, rows, result, plot(accuracy), notes)


def plot(accuracy: dict[str, list[Estimate]]) -> Figure:
    """Plot three dots for each method, with chance levels as dashed lines."""
    figure, axes = plotting.new_figure(8, 4.4)
    shades = ("#0072b2", "#56a0cf", "#a9cfe6")
    names = sorted(METHODS, key=lambda name: accuracy[name][0].value)
    for place, name in enumerate(names):
        axes.plot(
            [accuracy[name][0].value, accuracy[name][-1].value], [place, place], color=plotting.FAINT, lw=5, zorder=1
        )
        for estimate, shade, k in zip(accuracy[name], shades, TOP_K, strict=True):
            axes.plot([estimate.low, estimate.high], [place, place], color=plotting.INK, lw=1.4, zorder=4)
            axes.scatter(estimate.value, place, s=70, color=shade, zorder=3, label=f"top-{k}" if not place else None)
            axes.text(
                estimate.value,
                place + 0.3,
                f"{estimate.value:.2f}",
                ha="center",
                fontsize=8,
                color=plotting.INK,
                bbox=LABEL_BOX,
            )
    for k, shade in zip(TOP_K, shades, strict=True):
        axes.axvline(k / SIZE, color=shade, linestyle=(0, (4, 3)), linewidth=1.2, zorder=0)
    axes.set_yticks(range(len(names)), [METHODS[name][0] for name in names])
    axes.set_ylim(-0.6, len(names) - 0.2)
    axes.set_xlim(0.2, 1.02)
    plotting.clean_axes(axes, None)
    axes.legend(frameon=False, fontsize=9, loc="lower left", bbox_to_anchor=(0, 1), ncols=3, handletextpad=0.2)
    first = accuracy["unseen"][0].value
    plotting.set_heading(
        figure,
        f"PrefDisc ranks the liked image first in {first:.0%} of the sets",
        "Share of sets with the liked image among the best 1, 2 or 3 of four, with 95 % intervals. Dashed: chance.",
    )
    return figure


def main(argv: list[str] | None = None) -> dict:
    """Run the command."""
    return run_command("topk", measure, USERS, argv, description=__doc__)


if __name__ == "__main__":
    main()
