"""Plots win rates over plain pictures and prompt adherence for every condition."""

from __future__ import annotations

from matplotlib.figure import Figure

from train.evaluate import plotting
from train.evaluate.generation.conditions import ALL_CONDITIONS
from train.evaluate.generation.report import MIN_WIN_RATE, ConditionResult


def plot(results: dict[str, ConditionResult]) -> Figure:
    """Plot the win rate of each condition with its interval, and the share of pictures with the prompted subject."""
    names = [name for name in results if name != "plain"] or ["plain"]
    figure, (left, right) = plotting.new_figure(10, 1.7 + 0.42 * len(names), 1, 2, sharey=True, width_ratios=(3, 2))
    places = range(len(names))[::-1]
    for place, name in zip(places, names, strict=True):
        row, colour = results[name], ALL_CONDITIONS[name].colour
        for axes, estimate in ((left, row.win), (right, row.obedience)):
            axes.plot([estimate.low, estimate.high], [place, place], color=colour, linewidth=7, alpha=0.25)
            axes.scatter([estimate.value], [place], s=42, color=colour, linewidths=0, zorder=3)
            axes.text(
                estimate.value, place + 0.24, f"{estimate.value:.2f}", ha="center", fontsize=8.5, color=plotting.INK
            )
    left.axvline(0.5, color=plotting.QUIET, linewidth=1)
    left.axvline(MIN_WIN_RATE, color=plotting.LIMIT, linewidth=1, linestyle=(0, (4, 3)))
    plain = results["plain"].obedience.value
    right.axvline(plain, color=plotting.QUIET, linewidth=1)
    left.set_yticks(list(places), [ALL_CONDITIONS[name].label for name in names])
    left.set_ylim(-0.5, len(names) - 0.25)
    left.set_xlim(min(0.4, *(results[name].win.low for name in names)) - 0.03, 1.02)
    right.set_xlim(min(0.4, plain, *(results[name].obedience.low for name in names)) - 0.03, 1.04)
    for axes, title in ((left, "win rate over plain, by true utility"), (right, "prompted subject recognised")):
        plotting.clean_axes(axes, "x").set_title(title, fontsize=10, loc="left", color=plotting.INK, pad=8)
    wins = f"{results['full'].win.value:.1%} of the time" if "full" in results else "beside plain"
    plotting.set_heading(
        figure,
        f"Personalised pictures have higher true utility {wins}",
        "Same prompts and seeds; utility from the judge's predictions. Pale bars: 95 % intervals, clustered by agent. "
        "Lines on the left: no difference, and the target; on the right: plain.",
    )
    return figure
