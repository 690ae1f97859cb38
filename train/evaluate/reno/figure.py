"""Plots win rates over plain pictures, reward hacking and the rewards during the optimisation."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from train.evaluate import plotting
from train.evaluate.reno.conditions import ALL_CONDITIONS
from train.evaluate.reno.report import MAX_HACKING, MIN_WIN_RATE, ConditionResult
from train.evaluate.statistics import mean_over_users


def plot(results: dict[str, ConditionResult]) -> Figure:
    """Plot win rate and hacking of each condition with intervals, and the gain of each reward by iteration."""
    names = [name for name in results if name != "plain"] or ["plain"]
    height = max(3.4, 1.9 + 0.42 * len(names))
    figure, (left, middle, right) = plotting.new_figure(13, height, 1, 3, width_ratios=(3, 2, 3))
    figure.get_layout_engine().set(wspace=0.06)  # Keep the ticks of neighbouring panels apart.
    places = range(len(names))[::-1]
    for place, name in zip(places, names, strict=True):
        result, colour = results[name], ALL_CONDITIONS[name].colour
        estimates = [(left, mean_over_users(result.wins))]
        if ALL_CONDITIONS[name].reward:
            estimates.append((middle, mean_over_users(result.hacked)))
        for axes, estimate in estimates:
            axes.plot([estimate.low, estimate.high], [place, place], color=colour, linewidth=7, alpha=0.25)
            axes.scatter([estimate.value], [place], s=42, color=colour, linewidths=0, zorder=3)
            axes.text(
                estimate.value, place + 0.24, f"{estimate.value:.2f}", ha="center", fontsize=8.5, color=plotting.INK
            )
    left.axvline(0.5, color=plotting.QUIET, linewidth=1)
    for axes, target in ((left, MIN_WIN_RATE), (middle, MAX_HACKING)):
        axes.axvline(target, color=plotting.LIMIT, linewidth=1, linestyle=(0, (4, 3)))
        axes.set_ylim(-0.5, len(names) - 0.25)
    left.set_yticks(list(places), [ALL_CONDITIONS[name].label for name in names])
    middle.set_yticks(list(places), [""] * len(names))
    left.set_xlim(min(0.4, *(mean_over_users(result.wins).low for result in results.values())) - 0.03, 1.02)
    middle.set_xlim(-0.02, max(0.3, *(mean_over_users(result.hacked).high for result in results.values())) + 0.03)
    for axes, title in ((left, "wins over plain, by true utility"), (middle, "score rose, true utility fell")):
        plotting.clean_axes(axes, "x").set_title(title, fontsize=10, loc="left", color=plotting.INK, pad=8)
    _plot_gains(right, {name: results[name] for name in names if ALL_CONDITIONS[name].reward})
    if "reno" in results:
        win_rate = mean_over_users(results["reno"].wins).value
        title = f"Optimised noise wins over plain noise in {win_rate:.1%} of pictures"
    else:
        title = "Optimised noise compared with plain noise"
    plotting.set_heading(
        figure,
        title,
        "Same prompts and initial noise. True utility of the attributes that the judge predicts. Pale bars: 95 % "
        "intervals, clustered by agent. Green lines: targets. Right: means, in standard deviations of initial scores.",
    )
    return figure


def _plot_gains(axes: Axes, results: dict[str, ConditionResult]) -> None:
    """Plot the best score so far minus the first, in standard deviations of the first scores."""
    for colour, (name, result) in zip(plotting.COLOURS, results.items(), strict=False):
        generated = result.generated
        gain = (generated.curve - generated.first[..., None]).mean((0, 1)) / max(generated.first.std(), 1e-12)
        axes.plot(np.arange(1, len(gain) + 1), gain, color=colour, linewidth=1.8, label=ALL_CONDITIONS[name].label)
    plotting.clean_axes(axes).set_title(
        "gain of the optimised score", fontsize=10, loc="left", color=plotting.INK, pad=8
    )
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_xlabel("iterations", fontsize=9, color=plotting.QUIET)
    if results:
        axes.legend(fontsize=7.5, frameon=False, labelcolor=plotting.INK)
