"""Measures pairwise accuracy on seen and unseen users, with upper limits and controls.

    python -m train.evaluate.prediction

Paper index section 2 (001 table 1, 003 tables 1 and 2). All methods are measured on the same trials.
"""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from train.evaluate import plotting
from train.evaluate.accuracy import correct_choices
from train.evaluate.choice_trials import PAIRS
from train.evaluate.command import CLUSTERED_NOTE, Options, Report, run_command
from train.evaluate.method_comparison import LEGEND, METHODS, evaluate_methods
from train.evaluate.statistics import Estimate, bootstrap, mean_over_users, paired_difference, unpaired_difference

USERS, TARGETS = 5000, 12
"""Users of each kind, and test pairs of each user (our choice)."""
MIN_SHARE = 0.85
"""Target: smallest share of the ideal observer's gain that the shipped model should reach."""


def share_of_ideal_gain(ours: np.ndarray, ideal: np.ndarray, ideal_no_history: np.ndarray) -> np.ndarray:
    """Compute the share of the ideal observer's accuracy gain from the history that our model reaches."""
    return (ours - ideal_no_history) / (ideal - ideal_no_history)


def measure(options: Options) -> Report:
    """Measure all methods, and check the targets."""
    grades = evaluate_methods(options, TARGETS, 2, correct_choices)
    accuracy = {name: mean_over_users(values) for name, values in grades.items()}
    rng = np.random.default_rng(options.seeds)
    share = bootstrap(
        share_of_ideal_gain, grades["unseen"], grades["ideal_observer"], grades["ideal_no_history"], rng=rng
    )
    gain = paired_difference(grades["unseen"], grades["bradley_terry"])
    gap = unpaired_difference(grades["seen"], grades["unseen"])
    wrong_gain = paired_difference(grades["wrong_history"], grades["no_history"])
    bars = {
        "share": share.value >= MIN_SHARE,
        "above_bradley_terry": gain.value > 3 * gain.stderr,
        "seen_as_unseen": max(abs(gap.low), abs(gap.high)) < 0.01,
        # "No better" means that the interval of the difference is not entirely above zero.
        "wrong_history_no_better": wrong_gain.low <= 0,
    }
    result = {
        **{f"accuracy_{name}": round(estimate.value, 5) for name, estimate in accuracy.items()},
        "stderr": {f"accuracy_{name}": round(estimate.stderr, 5) for name, estimate in accuracy.items()},
        "users": options.users,
        "pairs": int(grades["unseen"].size),
        "share_of_possible": share.to_json(),
        "unseen_minus_bradley_terry": gain.to_json(),
        "seen_minus_unseen": gap.to_json(),
        "wrong_minus_no_history": wrong_gain.to_json(),
        "bars": bars,
        "checkpoint": options.checkpoint,
    }
    rows = [(METHODS[name][0], accuracy[name].text(), f"{accuracy[name].stderr:.4f}") for name in METHODS]
    notes = [
        f"PrefDisc reaches {share.text()} of the ideal observer's accuracy gain from eight pairs (target: at least "
        f"{MIN_SHARE}; bootstrap interval over users).",
        f"Gain over the regression on true attributes: {gain.text(4)}, paired, {gain.value / gain.stderr:.0f} standard "
        "errors (target: more than 3).",
        f"Seen minus unseen users: {gap.text(4, sign=True)} (target: interval within ±0.01).",
        f"Another user's history minus no history: {wrong_gain.text(4, sign=True)}, paired (target: no better).",
    ]
    measured = (
        f"Pairwise accuracy after {PAIRS} pairs: {options.users:,} unseen and as many seen users, {TARGETS} test pairs "
        f"each ({grades['unseen'].size:,} of each kind). Seen users are training users with new pairs. Posters have "
        f"the attribute combinations of the test split and are drawn anew for {options.seeds_text}. {CLUSTERED_NOTE}"
    )
    title = "Pairwise accuracy"
    return Report(title, measured, ("method", "accuracy", "standard error"), rows, result, plot(accuracy, share), notes)


def plot(accuracy: dict[str, Estimate], share: Estimate) -> Figure:
    """Plot bars from chance level, best first, with the range between the ideal observer without and with a history."""
    figure, axes = plotting.new_figure(8, 4.4)
    names = sorted(METHODS, key=lambda name: -accuracy[name].value)
    plotting.bar_chart(
        axes, [METHODS[n][0] for n in names], [accuracy[n] for n in names], [METHODS[n][1] for n in names]
    )
    low, high = accuracy["ideal_no_history"].value, accuracy["ideal_observer"].value
    axes.axvspan(low, high, color=plotting.LIMIT, alpha=0.1, linewidth=0, zorder=0)
    plotting.set_heading(
        figure,
        f"PrefDisc reaches {share.value:.0%} of the ideal observer's gain from eight pairs",
        "Pairwise accuracy from chance (0.5), with 95 % intervals. Shaded: between the ideal observer without and with "
        f"the pairs.\n{LEGEND}",
    )
    return figure


def main(argv: list[str] | None = None) -> dict:
    """Run the command."""
    return run_command("prediction", measure, USERS, argv, description=__doc__)


if __name__ == "__main__":
    main()
