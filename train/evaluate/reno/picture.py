"""The figure: how often each row's picture is of higher true utility than plain's, hacking, and the scores' curves."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from train.evaluate import plotting
from train.evaluate.reno.report import LEAST_WINS, MOST_HACKED, Found
from train.evaluate.reno.rows import EVERY
from train.evaluate.statistics import mean_over_users


def draw(found: dict[str, Found]) -> Figure:
    """A dot and its interval a row, twice; beside them every climbed score over iterations."""
    names = [name for name in found if name != "plain"] or ["plain"]
    height = max(3.4, 1.9 + 0.42 * len(names))
    drawn, (left, middle, right) = plotting.new_figure(13, height, 1, 3, width_ratios=(3, 2, 3))
    drawn.get_layout_engine().set(wspace=0.06)  # the last tick of one panel beside the first of the next
    places = range(len(names))[::-1]
    for place, name in zip(places, names, strict=True):
        row, colour = found[name], EVERY[name].colour
        shown = [(left, mean_over_users(row.wins))]
        if EVERY[name].score:
            shown.append((middle, mean_over_users(row.hacked)))
        for axes, estimate in shown:
            axes.plot([estimate.low, estimate.high], [place, place], color=colour, linewidth=7, alpha=0.25)
            axes.scatter([estimate.value], [place], s=42, color=colour, linewidths=0, zorder=3)
            axes.text(
                estimate.value, place + 0.24, f"{estimate.value:.2f}", ha="center", fontsize=8.5, color=plotting.INK
            )
    left.axvline(0.5, color=plotting.QUIET, linewidth=1)
    for axes, bar in ((left, LEAST_WINS), (middle, MOST_HACKED)):
        axes.axvline(bar, color=plotting.LIMIT, linewidth=1, linestyle=(0, (4, 3)))
        axes.set_ylim(-0.5, len(names) - 0.25)
    left.set_yticks(list(places), [EVERY[name].label for name in names])
    middle.set_yticks(list(places), [""] * len(names))
    left.set_xlim(min(0.4, *(mean_over_users(row.wins).low for row in found.values())) - 0.03, 1.02)
    middle.set_xlim(-0.02, max(0.3, *(mean_over_users(row.hacked).high for row in found.values())) + 0.03)
    for axes, title in ((left, "wins over plain, by true utility"), (middle, "score rose, true utility fell")):
        plotting.clean_axes(axes, "x").set_title(title, fontsize=10, loc="left", color=plotting.INK, pad=8)
    _curves(right, {name: found[name] for name in names if EVERY[name].score})
    wins = f"{mean_over_users(found['reno'].wins).value:.1%} of the time" if "reno" in found else "beside plain"
    plotting.set_heading(
        drawn,
        f"An optimised noise's picture is truly better for its person {wins}",
        "Same prompt, same first noise; utility by the judge's reading. Pale bars: 95 % intervals, clustered by agent. "
        "Green lines: the bars. Right: means over all pictures; one unit is how much first pictures' scores differ.",
    )
    return drawn


def _curves(axes: Axes, rows: dict[str, Found]) -> None:
    """The best score so far above the first, in deviations of the first ones: rows' scores have units of their own."""
    for colour, (name, row) in zip(plotting.COLOURS, rows.items(), strict=False):
        gain = (row.painted.curve - row.painted.first[..., None]).mean((0, 1)) / max(row.painted.first.std(), 1e-12)
        axes.plot(np.arange(1, len(gain) + 1), gain, color=colour, linewidth=1.8, label=EVERY[name].label)
    plotting.clean_axes(axes).set_title(
        "gain of the score that is climbed", fontsize=10, loc="left", color=plotting.INK, pad=8
    )
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_xlabel("runs of the generator", fontsize=9, color=plotting.QUIET)
    if rows:
        axes.legend(fontsize=7.5, frameon=False, labelcolor=plotting.INK)
