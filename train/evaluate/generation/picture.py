"""The figure: how often each row's picture is of higher true utility than plain's."""

from __future__ import annotations

from matplotlib.figure import Figure

from train.evaluate import style
from train.evaluate.generation.report import LEAST_WINS, Found
from train.evaluate.generation.rows import EVERY


def draw(found: dict[str, Found]) -> Figure:
    """A dot and its interval a row, around the line of no difference; obedience beside it."""
    names = [name for name in found if name != "plain"] or ["plain"]
    drawn, (left, right) = style.figure(10, 1.7 + 0.42 * len(names), 1, 2, sharey=True, width_ratios=(3, 2))
    places = range(len(names))[::-1]
    for place, name in zip(places, names, strict=True):
        row, colour = found[name], EVERY[name].colour
        for axes, estimate in ((left, row.win), (right, row.obedience)):
            axes.plot([estimate.low, estimate.high], [place, place], color=colour, linewidth=7, alpha=0.25)
            axes.scatter([estimate.value], [place], s=42, color=colour, linewidths=0, zorder=3)
            axes.text(estimate.value, place + 0.24, f"{estimate.value:.2f}", ha="center", fontsize=8.5, color=style.INK)
    left.axvline(0.5, color=style.QUIET, linewidth=1)
    left.axvline(LEAST_WINS, color=style.LIMIT, linewidth=1, linestyle=(0, (4, 3)))
    plain = found["plain"].obedience.value
    right.axvline(plain, color=style.QUIET, linewidth=1)
    left.set_yticks(list(places), [EVERY[name].label for name in names])
    left.set_ylim(-0.5, len(names) - 0.25)
    left.set_xlim(min(0.4, *(found[name].win.low for name in names)) - 0.03, 1.02)
    right.set_xlim(min(0.4, plain, *(found[name].obedience.low for name in names)) - 0.03, 1.04)
    for axes, title in ((left, "wins over plain, by true utility"), (right, "the subject is what the prompt names")):
        style.plain(axes, "x").set_title(title, fontsize=10, loc="left", color=style.INK, pad=8)
    wins = f"{found['full'].win.value:.1%} of the time" if "full" in found else "beside plain"
    style.heading(
        drawn,
        f"What is painted for a person is truly better for them {wins}",
        "Same prompt, same seed; utility by the judge's reading. Pale bars: 95 % intervals, clustered by agent. Left "
        "lines: no difference, and the bar. Right line: plain.",
    )
    return drawn
