"""`python -m train.evaluate.ablation`: the method's parts one after the other, and the baselines, trained alike.

method.md section 2 (001 tables 1 and 6, 003 table 4). Every variant has the same eyes, the same users, the same steps.
"""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from train.evaluate import style
from train.evaluate.command import Options, Report, command
from train.evaluate.statistics import Estimate, over_seeds
from train.evaluate.variants import (
    PEERS,
    Trained,
    add_options,
    budget_text,
    measure_peers,
    train_and_measure,
)

USERS = 3000
ROWS = {
    "no_history": "no history (PickScore's way)",
    "base": "base loss alone (ViPer's way)",
    "prompt": "+ prompts",
    "contrastive": "+ contrastive preference loss",
    "full": "+ preference tokens (all)",
}
STEPS_UP = (("base", "prompt"), ("prompt", "contrastive"), ("contrastive", "full"))
CLAIMS = {
    "prompt": "prompts raise accuracy",
    "contrastive": "the contrastive loss raises accuracy",
    "full": "preference tokens raise accuracy",
}


def measure(options: Options) -> Report:
    """Train, measure, and hold each claim of the papers against its interval."""
    names = [name for name in ROWS if name in (options.given.variants or ROWS)]
    trained = train_and_measure(options, names)
    found = {name: variant.estimates() for name, variant in trained.items()}
    peers = {name: over_seeds(values) for name, values in measure_peers(options).items()}
    steps = {
        after: over_seeds(trained[after].unseen - trained[before].unseen)
        for before, after in STEPS_UP
        if before in trained and after in trained
    }
    result = {
        **{name: {what: e.to_json() for what, e in row.items() if np.isfinite(e.value)} for name, row in found.items()},
        **{name: {"unseen": estimate.to_json()} for name, estimate in peers.items()},
        "gain_over_the_row_before": {name: e.to_json() for name, e in steps.items()},
        "claims": {CLAIMS[name]: verdict(e) for name, e in steps.items()},
        "steps": options.given.steps,
        "batch": options.given.batch,
        "users": options.users,
    }
    rows = [
        (
            ROWS[name],
            row["unseen"].text(),
            steps[name].text(sign=True) if name in steps else "",
            row["seen_minus_unseen"].text(sign=True),
            *(row[what].text() if np.isfinite(row[what].value) else "" for what in ("silhouette", "davies_bouldin")),
        )
        for name, row in found.items()
    ]
    rows += [(PEERS[name], estimate.text(), "", "", "", "") for name, estimate in peers.items()]
    notes = [
        f"The papers' claim that {CLAIMS[name]}: {verdict(e)} at this size ({e.text(sign=True)})."
        for name, e in steps.items()
    ]
    if "prompt" in steps:
        notes.append(
            "Read with it: these users' prompts name the subject and their tastes are over everything else, so that a "
            "prompt says nothing of what they like. It can only cost: its words stand between the images, and the "
            "steps are few. The shipped model, with twelve times the steps, reads turns with and without."
        )
    columns = (
        "variant",
        "accuracy, unseen",
        "gain over the row before",
        "seen - unseen",
        "silhouette",
        "Davies-Bouldin",
    )
    measured = (
        f"Pairwise accuracy after 8 pairs: {budget_text(options)}. ± is half a 95 % interval over seeds (Student's); "
        "gains are paired by seed."
    )
    return Report("What each part adds", measured, columns, rows, result, draw(trained, found), notes)


def verdict(gain: Estimate) -> str:
    """What an interval of a gain says of the claim that it is above zero."""
    if gain.low > 0:
        return "reproduces"
    return "is contradicted" if gain.high < 0 else "does not show"


def draw(trained: dict[str, Trained], found: dict[str, dict[str, Estimate]]) -> Figure:
    """Every training as a dot, their mean and its interval."""
    drawn, axes = style.figure(8, 0.9 + 0.62 * len(trained))
    for place, (name, variant) in enumerate(reversed(trained.items())):
        estimate = found[name]["unseen"]
        colour = style.CONTROL if name == "no_history" else style.OURS
        axes.plot([estimate.low, estimate.high], [place, place], color=colour, linewidth=6, alpha=0.2)
        axes.scatter(variant.unseen, [place] * len(variant.unseen), s=22, color=colour, alpha=0.6, linewidths=0)
        axes.plot([estimate.value] * 2, [place - 0.22, place + 0.22], color=style.INK, linewidth=2)
        axes.text(estimate.value, place + 0.28, f"{estimate.value:.3f}", ha="center", fontsize=9, color=style.INK)
    axes.set_yticks(range(len(trained)), [ROWS[name] for name in reversed(trained)])
    axes.set_ylim(-0.5, len(trained) - 0.3)
    style.plain(axes, "x")
    style.heading(
        drawn,
        "What each part of the method adds at a small, equal budget",
        "Pairwise accuracy on unseen users. Dots: trainings; line: their mean; pale bar: its 95 % interval over seeds.",
    )
    return drawn


def main(argv: list[str] | None = None) -> dict:
    """The command."""
    return command("ablation", measure, USERS, argv, add_options, __doc__, least_seeds=2)


if __name__ == "__main__":
    main()
