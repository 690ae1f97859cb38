"""Measures the parts of the method, added one by one, with equal training budgets.

    python -m train.evaluate.ablation

Paper index section 2 (001 tables 1 and 6, 003 table 4). All variants use the same vision tower, users and steps.
"""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from train.evaluate import plotting
from train.evaluate.command import Options, Report, run_command
from train.evaluate.prefdisc_variants import (
    BASELINES,
    VariantResults,
    add_options,
    budget_text,
    measure_baselines,
    train_and_measure,
)
from train.evaluate.statistics import Estimate, mean_over_seeds

USERS = 3000
ROWS = {
    "no_history": "no history (as PickScore)",
    "base": "base loss only (as ViPer)",
    "prompt": "+ prompts",
    "contrastive": "+ contrastive preference loss",
    "full": "+ preference tokens (full model)",
}
ADDITIONS = (("base", "prompt"), ("prompt", "contrastive"), ("contrastive", "full"))
CLAIMS = {
    "prompt": "prompts raise accuracy",
    "contrastive": "the contrastive loss raises accuracy",
    "full": "preference tokens raise accuracy",
}


def measure(options: Options) -> Report:
    """Train and measure the variants, and test each claim of the papers against its interval."""
    names = [name for name in ROWS if name in (options.arguments.variants or ROWS)]
    trained = train_and_measure(options, names)
    estimates = {name: variant.estimates() for name, variant in trained.items()}
    baselines = {name: mean_over_seeds(values) for name, values in measure_baselines(options).items()}
    gains = {
        after: mean_over_seeds(trained[after].unseen - trained[before].unseen)
        for before, after in ADDITIONS
        if before in trained and after in trained
    }
    result = {
        **{
            name: {what: e.to_json() for what, e in row.items() if np.isfinite(e.value)}
            for name, row in estimates.items()
        },
        **{name: {"unseen": estimate.to_json()} for name, estimate in baselines.items()},
        "gain_over_the_row_before": {name: e.to_json() for name, e in gains.items()},
        "claims": {CLAIMS[name]: verdict(e) for name, e in gains.items()},
        "steps": options.arguments.steps,
        "batch": options.arguments.batch,
        "users": options.users,
    }
    rows = [
        (
            ROWS[name],
            row["unseen"].text(),
            gains[name].text(sign=True) if name in gains else "",
            row["seen_minus_unseen"].text(sign=True),
            *(row[what].text() if np.isfinite(row[what].value) else "" for what in ("silhouette", "davies_bouldin")),
        )
        for name, row in estimates.items()
    ]
    rows += [(BASELINES[name], estimate.text(), "", "", "", "") for name, estimate in baselines.items()]
    notes = [
        f"The papers' claim that {CLAIMS[name]} {verdict(e)} at this model size ({e.text(sign=True)})."
        for name, e in gains.items()
    ]
    if "prompt" in gains:
        notes.append(
            "In this simulation, prompts name the subject and tastes concern everything else, so prompts carry no "
            "information about a user's taste. They can only hurt: they add tokens between the images, and the "
            "trainings are short. The shipped model, trained for twelve times as many steps, handles both formats."
        )
    columns = (
        "variant",
        "accuracy, unseen",
        "gain over the previous row",
        "seen - unseen",
        "silhouette",
        "Davies-Bouldin",
    )
    measured = (
        f"Pairwise accuracy after 8 pairs. {budget_text(options)}. ± is half of the 95 % interval over seeds "
        "(Student's t); gains are paired by seed."
    )
    return Report("Ablation", measured, columns, rows, result, plot(trained, estimates), notes)


def verdict(gain: Estimate) -> str:
    """Return the verdict of a gain's interval on the claim that the gain is above zero."""
    if gain.low > 0:
        return "is reproduced"
    return "is contradicted" if gain.high < 0 else "is not supported"


def plot(trained: dict[str, VariantResults], estimates: dict[str, dict[str, Estimate]]) -> Figure:
    """Plot every training as a dot, with the mean and its interval."""
    figure, axes = plotting.new_figure(8, 0.9 + 0.62 * len(trained))
    for place, (name, variant) in enumerate(reversed(trained.items())):
        estimate = estimates[name]["unseen"]
        colour = plotting.CONTROL if name == "no_history" else plotting.OURS
        axes.plot([estimate.low, estimate.high], [place, place], color=colour, linewidth=6, alpha=0.2)
        axes.scatter(variant.unseen, [place] * len(variant.unseen), s=22, color=colour, alpha=0.6, linewidths=0)
        axes.plot([estimate.value] * 2, [place - 0.22, place + 0.22], color=plotting.INK, linewidth=2)
        axes.text(estimate.value, place + 0.28, f"{estimate.value:.3f}", ha="center", fontsize=9, color=plotting.INK)
    axes.set_yticks(range(len(trained)), [ROWS[name] for name in reversed(trained)])
    axes.set_ylim(-0.5, len(trained) - 0.3)
    plotting.clean_axes(axes, "x")
    plotting.set_heading(
        figure,
        "Ablation with a small, equal training budget",
        "Pairwise accuracy on unseen users. Dots: trainings; line: mean; pale bar: 95 % interval over seeds.",
    )
    return figure


def main(argv: list[str] | None = None) -> dict:
    """Run the command."""
    return run_command("ablation", measure, USERS, argv, add_options, __doc__, min_seeds=2)


if __name__ == "__main__":
    main()
