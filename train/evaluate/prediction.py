"""`python -m train.evaluate.prediction`: pairwise accuracy on seen and unseen users, beside limits and controls.

method.md section 2 (001 table 1, 003 tables 1 and 2). Every method answers the same trials.
"""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from train.evaluate import style
from train.evaluate.command import CLUSTERED, Options, Report, command
from train.evaluate.methods import LEGEND, METHODS, ask
from train.evaluate.ranking import right
from train.evaluate.statistics import Estimate, bootstrap, over_users, paired, unpaired
from train.evaluate.trials import PAIRS

USERS, TARGETS = 5000, 12
"""Of each kind, and the test pairs of each (default ours)."""
BAR = 0.85
"""The least share of what the pairs can tell that the shipped model reads out of them."""


def share(ours: np.ndarray, ideal: np.ndarray, nothing: np.ndarray) -> np.ndarray:
    """Of what the pairs can tell beyond no pairs, how much is read: accuracies of (ours - none) / (ideal - none)."""
    return (ours - nothing) / (ideal - nothing)


def measure(options: Options) -> Report:
    """Measure, and say which bars are met."""
    got = ask(options, TARGETS, 2, right)
    accuracy = {name: over_users(values) for name, values in got.items()}
    rng = np.random.default_rng(options.seeds)
    read = bootstrap(share, got["unseen"], got["ideal_observer"], got["ideal_no_history"], rng=rng)
    over = paired(got["unseen"], got["bradley_terry"])
    gap = unpaired(got["seen"], got["unseen"])
    wrong = paired(got["wrong_history"], got["no_history"])
    bars = {
        "share": read.value >= BAR,
        "above_bradley_terry": over.value > 3 * over.stderr,
        "seen_as_unseen": max(abs(gap.low), abs(gap.high)) < 0.01,
        # No better: the interval of the difference reaches zero or lies below it.
        "wrong_history_no_better": wrong.low <= 0,
    }
    result = {
        **{f"accuracy_{name}": round(found.value, 5) for name, found in accuracy.items()},
        "stderr": {f"accuracy_{name}": round(found.stderr, 5) for name, found in accuracy.items()},
        "users": options.users,
        "pairs": int(got["unseen"].size),
        "share_of_possible": read.to_json(),
        "unseen_minus_bradley_terry": over.to_json(),
        "seen_minus_unseen": gap.to_json(),
        "wrong_minus_no_history": wrong.to_json(),
        "bars": bars,
        "checkpoint": options.checkpoint,
    }
    rows = [(METHODS[name][0], accuracy[name].text(), f"{accuracy[name].stderr:.4f}") for name in METHODS]
    notes = [
        f"Of what eight pairs can tell (ideal observer, with and without them) PrefDisc reads {read.text()} "
        f"(bar: at least {BAR}; interval by drawing users again).",
        f"Above the regression on true attributes by {over.text(4)}, paired: {over.value / over.stderr:.0f} standard "
        "errors (bar: 3).",
        f"Seen less unseen users: {gap.text(4, sign=True)} (bar: the interval within ±0.01).",
        f"Another's history less none: {wrong.text(4, sign=True)}, paired (bar: no better).",
    ]
    measured = (
        f"Pairwise accuracy after {PAIRS} pairs: {options.users:,} unseen and as many seen users, {TARGETS} test pairs "
        f"each ({got['unseen'].size:,} of each kind); seen users are of the training's pool, with new pairs. Posters "
        f"of test combinations, drawn anew for {options.told_seeds}. {CLUSTERED}"
    )
    title = "Pairwise accuracy"
    return Report(title, measured, ("method", "accuracy", "standard error"), rows, result, draw(accuracy, read), notes)


def draw(accuracy: dict[str, Estimate], read: Estimate) -> Figure:
    """Bars from chance, best first, and the span that the pairs can tell."""
    drawn, axes = style.figure(8, 4.4)
    names = sorted(METHODS, key=lambda name: -accuracy[name].value)
    style.bars(axes, [METHODS[n][0] for n in names], [accuracy[n] for n in names], [METHODS[n][1] for n in names])
    low, high = accuracy["ideal_no_history"].value, accuracy["ideal_observer"].value
    axes.axvspan(low, high, color=style.LIMIT, alpha=0.1, linewidth=0, zorder=0)
    style.heading(
        drawn,
        f"PrefDisc reads {read.value:.0%} of what eight pairs can tell",
        "Pairwise accuracy from chance (0.5), with 95 % intervals. Shaded: between the ideal observer without and with "
        f"the pairs.\n{LEGEND}",
    )
    return drawn


def main(argv: list[str] | None = None) -> dict:
    """The command."""
    return command("prediction", measure, USERS, argv, about=__doc__)


if __name__ == "__main__":
    main()
