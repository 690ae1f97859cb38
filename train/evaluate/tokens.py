"""`python -m train.evaluate.tokens`: how many preference tokens it takes.

method.md section 2 (001 table 4, 003 table 5: 5, 10 and 20 of them). Variants are trained alike, as in the ablation.
"""

from __future__ import annotations

from matplotlib.figure import Figure

from train.evaluate import style
from train.evaluate.command import Options, Report, command
from train.evaluate.statistics import Estimate, over_seeds
from train.evaluate.variants import Trained, add_options, budget_text, train_and_measure
from train.pocket.prefdisc.variants import VARIANTS

USERS = 3000
NONE = "contrastive"
"""The variant with no preference tokens and everything else."""
NAMES = (NONE, *(name for name in VARIANTS if name.startswith("tokens_")))


def measure(options: Options) -> Report:
    """Train and measure every count, and each against none."""
    names = [name for name in NAMES if name in (options.given.variants or NAMES)]
    trained = train_and_measure(options, names)
    counts = {name: VARIANTS[name].num_tokens for name in names}
    found = {name: variant.estimates() for name, variant in trained.items()}
    gains = {
        n: over_seeds(v.unseen - trained[NONE].unseen) for n, v in trained.items() if NONE in trained and n != NONE
    }
    result = {
        "counts": {
            str(counts[name]): {
                "accuracy": found[name]["unseen"].to_json(),
                **({"gain_over_none": gains[name].to_json()} if name in gains else {}),
            }
            for name in names
        },
        "steps": options.given.steps,
        "batch": options.given.batch,
        "users": options.users,
    }
    rows = [
        (str(counts[name]), found[name]["unseen"].text(), gains[name].text(sign=True) if name in gains else "")
        for name in names
    ]
    helpful = [str(counts[name]) for name, gain in gains.items() if gain.low > 0]
    notes = [
        f"Better than none with an interval above zero: {', '.join(helpful)}."
        if helpful
        else "No number of tokens is better than none by more than its interval: the papers' gain (their tables are "
        "within half a point of each other as well) does not show at this size."
    ]
    measured = (
        f"Pairwise accuracy after 8 pairs: {budget_text(options)}. ± is half a 95 % interval over seeds (Student's); "
        "gains are paired by seed."
    )
    columns = ("preference tokens", "accuracy, unseen", "gain over none")
    picture = draw([counts[name] for name in names], trained, found)
    return Report("How many preference tokens", measured, columns, rows, result, picture, notes)


def draw(counts: list[int], trained: dict[str, Trained], found: dict[str, dict[str, Estimate]]) -> Figure:
    """Accuracy by the number of tokens: every training a dot, the mean with its interval."""
    drawn, axes = style.figure(7, 4)
    for place, (name, variant) in enumerate(trained.items()):
        estimate = found[name]["unseen"]
        axes.plot([place, place], [estimate.low, estimate.high], color=style.OURS, linewidth=7, alpha=0.2)
        axes.scatter([place] * len(variant.unseen), variant.unseen, s=22, color=style.OURS, alpha=0.6, linewidths=0)
        axes.plot([place - 0.15, place + 0.15], [estimate.value] * 2, color=style.INK, linewidth=2)
        axes.text(place + 0.2, estimate.value, f"{estimate.value:.3f}", va="center", fontsize=9, color=style.INK)
    axes.set_xticks(range(len(counts)), counts)
    axes.set_xlim(-0.5, len(counts) - 0.3)
    axes.set_xlabel("preference tokens", fontsize=9, color=style.INK)
    style.plain(axes)
    style.heading(
        drawn,
        "How many preference tokens it takes",
        "Pairwise accuracy on unseen users. Dots: trainings; line: their mean; pale bar: its 95 % interval over seeds.",
    )
    return drawn


def main(argv: list[str] | None = None) -> dict:
    """The command."""
    return command("tokens", measure, USERS, argv, add_options, __doc__, least_seeds=2)


if __name__ == "__main__":
    main()
