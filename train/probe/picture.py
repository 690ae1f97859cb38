"""Accuracy by layer, drawn: both probes, their chance, and the layers that were chosen."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from train.evaluate import plotting
from train.probe.classify import LayerAccuracy


def draw(found: LayerAccuracy, sem: Sequence[int], core: Sequence[int], under: str) -> Figure:
    """Two panels side by side; the chosen layers are shaded."""
    drawn, panels = plotting.new_figure(10, 4.2, 1, 2)
    layers = range(len(found.inter))
    told = (
        (panels[0], found.inter, found.chance, core, plotting.OURS, "Whose history is it?", "core"),
        (panels[1], found.intra, 0.5, sem, plotting.LIMIT, "Is the image liked?", "sem"),
    )
    for axes, estimates, chance, chosen, colour, title, part in told:
        axes.axvspan(min(chosen) - 0.5, max(chosen) + 0.5, color=colour, alpha=0.1, linewidth=0)
        axes.annotate(part, (sum(chosen) / len(chosen), 1.0), xycoords=("data", "axes fraction"), ha="center", va="top")
        low, high = [e.low for e in estimates], [e.high for e in estimates]
        axes.fill_between(layers, low, high, color=colour, alpha=0.2, linewidth=0)
        axes.plot(layers, [e.value for e in estimates], color=colour, linewidth=2, marker="o", markersize=4)
        axes.axhline(chance, color=plotting.CONTROL, linestyle=(0, (4, 3)), linewidth=1)
        axes.annotate("chance", (layers[-1], chance), ha="right", va="bottom", fontsize=8, color=plotting.CONTROL)
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("layer (0: the embedding)", fontsize=9)
        axes.set_ylabel("accuracy", fontsize=9)
        if len(layers) <= 12:
            axes.set_xticks(list(layers))
        plotting.clean_axes(axes)
    best = max(e.value for e in found.inter)
    plotting.set_heading(drawn, f"One user of {round(1 / found.chance)} is told at best {best:.0%} of the time", under)
    return drawn
