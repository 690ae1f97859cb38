"""Plots the accuracy of both probes on each layer, with the chance accuracy and the selected layers."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from train.evaluate import plotting
from train.probe.linear_probe import LayerAccuracy


def plot_accuracy(accuracy: LayerAccuracy, sem: Sequence[int], core: Sequence[int], subtitle: str) -> Figure:
    """Plot the inter-user and the intra-user probe side by side. The selected layers are shaded."""
    figure, panels = plotting.new_figure(10, 4.2, 1, 2)
    layers = range(len(accuracy.inter))
    plots = (
        (panels[0], accuracy.inter, accuracy.chance, core, plotting.OURS, "Whose history is it?", "core"),
        (panels[1], accuracy.intra, 0.5, sem, plotting.LIMIT, "Is the image liked?", "sem"),
    )
    for axes, estimates, chance, selected, colour, title, part in plots:
        centre = sum(selected) / len(selected)
        axes.axvspan(min(selected) - 0.5, max(selected) + 0.5, color=colour, alpha=0.1, linewidth=0)
        axes.annotate(part, (centre, 1.0), xycoords=("data", "axes fraction"), ha="center", va="top")
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
    best, users = max(e.value for e in accuracy.inter), round(1 / accuracy.chance)
    plotting.set_heading(figure, f"The best layer identifies one of {users} users in {best:.0%} of cases", subtitle)
    return figure
