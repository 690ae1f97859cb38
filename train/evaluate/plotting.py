"""Common style of all figures: white background, few lines, colours that colour-blind readers can distinguish."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK, QUIET, FAINT = "#22262e", "#7a828e", "#e3e6ea"
OURS, LIMIT, CONTROL, PEER = "#0072b2", "#009e73", "#d55e00", "#b9bfc8"
"""Colours of PrefDisc, upper limits, controls and other methods (Okabe and Ito 2008)."""
COLOURS = (OURS, "#e69f00", LIMIT, "#cc79a7", "#56b4e9", CONTROL, "#8c6d31", "#5b4fa2", "#f0e442", "#222222")
DPI = 150


def new_figure(width: float, height: float, rows: int = 1, columns: int = 1, **options) -> tuple[Figure, object]:
    """Create a figure of `width` x `height` inches and its axes, without pyplot's global state."""
    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained", facecolor="white")
    return figure, figure.subplots(rows, columns, **options)


def set_heading(figure: Figure, title: str, caption: str = "") -> None:
    """Set the title, which states the finding, and the caption below the axes."""
    figure.suptitle(title, x=0.01, ha="left", fontsize=13, fontweight="bold", color=INK)
    if caption:
        figure.supxlabel(caption, x=0.01, ha="left", fontsize=8, color=QUIET)


def clean_axes(axes: Axes, grid: str | None = "y") -> Axes:
    """Remove the frame and tick marks, and add faint grid lines along one axis."""
    for side in ("top", "right", "left", "bottom"):
        axes.spines[side].set_visible(False)
    axes.tick_params(colors=QUIET, labelcolor=INK, length=0, labelsize=9)
    axes.set_axisbelow(True)
    if grid:
        axes.grid(axis=grid, color=FAINT, linewidth=0.8)
    return axes


def bar_chart(
    axes: Axes, names: Sequence[str], estimates: Sequence, colours: Sequence[str], floor: float = 0.5
) -> None:
    """Draw horizontal bars from `floor`, the first on top, with 95 % intervals and values."""
    places = range(len(names))[::-1]
    values = [estimate.value for estimate in estimates]
    axes.barh(places, [value - floor for value in values], left=floor, color=colours, height=0.66)
    for place, estimate in zip(places, estimates, strict=True):
        axes.plot([estimate.low, estimate.high], [place, place], color=INK, linewidth=1.4, solid_capstyle="butt")
        axes.text(max(estimate.high, floor) + 0.006, place, f"{estimate.value:.3f}", va="center", fontsize=9, color=INK)
    axes.set_yticks(places, names)
    axes.set_xlim(min(floor, *values) - 0.005, max(estimate.high for estimate in estimates) + 0.06)
    clean_axes(axes, "x")
