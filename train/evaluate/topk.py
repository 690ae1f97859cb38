"""`python -m train.evaluate.topk`: one liked image against three disliked; is it the first, of the first two, three?

method.md section 2 (001 table 2, 003 table 3). The liked one is what the user chooses of four posters of one subject.
"""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from train.evaluate import style
from train.evaluate.command import CLUSTERED, Options, Report, command
from train.evaluate.methods import METHODS, ask
from train.evaluate.ranking import hits
from train.evaluate.statistics import Estimate, over_users, paired
from train.evaluate.trials import PAIRS

USERS, SETS, SIZE = 1500, 6, 4
"""Of each kind; sets of each user; images in a set (the paper's four)."""
FIRST = (1, 2, 3)
BEHIND = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}


def _hits(scores: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    return np.stack([hits(scores, chosen, k) for k in FIRST], axis=-1)


def measure(options: Options) -> Report:
    """Measure all methods on the same sets."""
    got = ask(options, SETS, SIZE, _hits)
    found = {name: [over_users(values[..., i]) for i in range(len(FIRST))] for name, values in got.items()}
    over = paired(got["unseen"][..., 0], got["wrong_history"][..., 0])
    result = {
        **{
            name: {f"top_{k}": estimate.to_json() for k, estimate in zip(FIRST, row, strict=True)}
            for name, row in found.items()
        },
        "unseen_minus_wrong_history_top_1": over.to_json(),
        "users": options.users,
        "sets": int(got["unseen"][..., 0].size),
        "checkpoint": options.checkpoint,
    }
    rows = [(METHODS[name][0], *(e.text() for e in found[name])) for name in METHODS]
    rows.append(("chance", *(f"{k / SIZE:.3f}" for k in FIRST)))
    measured = (
        f"One liked image against three disliked after {PAIRS} pairs: is the liked one among the best 1, 2, 3 by "
        f"score? {options.users:,} unseen and as many seen users, {SETS} sets each; posters of test combinations, "
        f"drawn anew for {options.told_seeds}. {CLUSTERED} The choice of four is Luce's; the ideal observer ranks by "
        "how many of the other three it expects an image to beat."
    )
    notes = [f"The user's own history finds {over.text(sign=True)} more of the liked images first than another's does."]
    columns = ("method", *(f"top-{k}" for k in FIRST))
    return Report("One liked against three disliked", measured, columns, rows, result, draw(found), notes)


def draw(found: dict[str, list[Estimate]]) -> Figure:
    """A line of three dots for each method, with chance as dashes."""
    drawn, axes = style.figure(8, 4.4)
    shades = ("#0072b2", "#56a0cf", "#a9cfe6")
    names = sorted(METHODS, key=lambda name: found[name][0].value)
    for place, name in enumerate(names):
        axes.plot([found[name][0].value, found[name][-1].value], [place, place], color=style.FAINT, lw=5, zorder=1)
        for estimate, shade, k in zip(found[name], shades, FIRST, strict=True):
            axes.plot([estimate.low, estimate.high], [place, place], color=style.INK, lw=1.4, zorder=4)
            axes.scatter(estimate.value, place, s=70, color=shade, zorder=3, label=f"top-{k}" if not place else None)
            axes.text(
                estimate.value,
                place + 0.3,
                f"{estimate.value:.2f}",
                ha="center",
                fontsize=8,
                color=style.INK,
                bbox=BEHIND,
            )
    for k, shade in zip(FIRST, shades, strict=True):
        axes.axvline(k / SIZE, color=shade, linestyle=(0, (4, 3)), linewidth=1.2, zorder=0)
    axes.set_yticks(range(len(names)), [METHODS[name][0] for name in names])
    axes.set_ylim(-0.6, len(names) - 0.2)
    axes.set_xlim(0.2, 1.02)
    style.plain(axes, None)
    axes.legend(frameon=False, fontsize=9, loc="lower left", bbox_to_anchor=(0, 1), ncols=3, handletextpad=0.2)
    first = found["unseen"][0].value
    style.heading(
        drawn,
        f"The liked one of four is PrefDisc's first in {first:.0%} of the sets",
        "Share of sets with the liked image among the best 1, 2, 3 by score, with 95 % intervals. Dashed: chance.",
    )
    return drawn


def main(argv: list[str] | None = None) -> dict:
    """The command."""
    return command("topk", measure, USERS, argv, about=__doc__)


if __name__ == "__main__":
    main()
