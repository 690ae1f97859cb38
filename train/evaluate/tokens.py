"""Measures accuracy by the number of preference tokens.

    python -m train.evaluate.tokens

Paper index section 2 (001 table 4, 003 table 5: 5, 10 and 20 tokens). Training budgets are those of the ablation.
"""

from __future__ import annotations

from matplotlib.figure import Figure

from train.evaluate import plotting
from train.evaluate.command import Options, Report, run_command
from train.evaluate.prefdisc_variants import VariantResults, add_options, budget_text, train_and_measure
from train.evaluate.statistics import Estimate, mean_over_seeds
from train.pocket.prefdisc.variants import VARIANTS

USERS = 3000
NO_TOKENS = "contrastive"
"""The variant without preference tokens that has all other parts."""
NAMES = (NO_TOKENS, *(name for name in VARIANTS if name.startswith("tokens_")))


def measure(options: Options) -> Report:
    """Train and measure each number of tokens, and compare it with none."""
    names = [name for name in NAMES if name in (options.arguments.variants or NAMES)]
    trained = train_and_measure(options, names)
    counts = {name: VARIANTS[name].num_tokens for name in names}
    estimates = {name: variant.estimates() for name, variant in trained.items()}
    gains = {
        n: mean_over_seeds(v.unseen - trained[NO_TOKENS].unseen)
        for n, v in trained.items()
        if NO_TOKENS in trained and n != NO_TOKENS
    }
    result = {
        "counts": {
            str(counts[name]): {
                "accuracy": estimates[name]["unseen"].to_json(),
                **({"gain_over_none": gains[name].to_json()} if name in gains else {}),
            }
            for name in names
        },
        "steps": options.arguments.steps,
        "batch": options.arguments.batch,
        "users": options.users,
    }
    rows = [
        (str(counts[name]), estimates[name]["unseen"].text(), gains[name].text(sign=True) if name in gains else "")
        for name in names
    ]
    better = [str(counts[name]) for name, gain in gains.items() if gain.low > 0]
    notes = [
        f"Significantly better than none: {', '.join(better)}."
        if better
        else "No number of tokens is significantly better than none. The papers' gain is not reproduced at this model "
        "size; the rows of their own tables also differ by less than half a point."
    ]
    measured = (
        f"Pairwise accuracy after 8 pairs. {budget_text(options)}. ± is half of the 95 % interval over seeds "
        "(Student's t); gains are paired by seed."
    )
    columns = ("preference tokens", "accuracy, unseen", "gain over none")
    picture = plot([counts[name] for name in names], trained, estimates)
    return Report("Number of preference tokens", measured, columns, rows, result, picture, notes)


def plot(counts: list[int], trained: dict[str, VariantResults], estimates: dict[str, dict[str, Estimate]]) -> Figure:
    """Plot the accuracy by the number of tokens: every training as a dot, the mean with its interval."""
    figure, axes = plotting.new_figure(7, 4)
    for place, (name, variant) in enumerate(trained.items()):
        estimate = estimates[name]["unseen"]
        axes.plot([place, place], [estimate.low, estimate.high], color=plotting.OURS, linewidth=7, alpha=0.2)
        axes.scatter([place] * len(variant.unseen), variant.unseen, s=22, color=plotting.OURS, alpha=0.6, linewidths=0)
        axes.plot([place - 0.15, place + 0.15], [estimate.value] * 2, color=plotting.INK, linewidth=2)
        axes.text(place + 0.2, estimate.value, f"{estimate.value:.3f}", va="center", fontsize=9, color=plotting.INK)
    axes.set_xticks(range(len(counts)), counts)
    axes.set_xlim(-0.5, len(counts) - 0.3)
    axes.set_xlabel("preference tokens", fontsize=9, color=plotting.INK)
    plotting.clean_axes(axes)
    plotting.set_heading(
        figure,
        "Accuracy by the number of preference tokens",
        "Pairwise accuracy on unseen users. Dots: trainings; line: mean; pale bar: 95 % interval over seeds.",
    )
    return figure


def main(argv: list[str] | None = None) -> dict:
    """Run the command."""
    return run_command("tokens", measure, USERS, argv, add_options, __doc__, min_seeds=2)


if __name__ == "__main__":
    main()
