"""`python -m train.evaluate.references`: accuracy with 0 to 8 pairs of history, on seen and unseen users.

method.md section 2: the N_ref sweep (001 figure 6, 003 figure 5).
"""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from train.data.agents import World
from train.evaluate import style
from train.evaluate.baselines import attribute_scores, choose_penalties, ideal_scores
from train.evaluate.command import CLUSTERED, Options, Report, command
from train.evaluate.draws import draws
from train.evaluate.judging import Seen, judge_after
from train.evaluate.ranking import right
from train.evaluate.statistics import Estimate, over_users, paired, unpaired
from train.evaluate.trials import PAIRS, draw_trials, features_of

USERS, TARGETS = 1500, 4
POINTS = list(range(PAIRS + 1))
METHODS = {
    "ideal_observer": ("ideal observer", style.LIMIT),
    "unseen": ("PrefDisc, unseen users", style.OURS),
    "seen": ("PrefDisc, seen users", "#56b4e9"),
    "bradley_terry": ("regression on true attributes", style.QUIET),
}


def answers(options: Options) -> dict[str, np.ndarray]:
    """What was right after 0 to 8 pairs, always of the same targets: name -> (9, users, TARGETS)."""
    world, prefdisc = World.load(), options.model().prefdisc
    penalty, found = choose_penalties(world).attributes, {name: [] for name in METHODS}
    for draw in draws(world, options.users, options.seeds, options.posters):
        gallery, rng = draw.gallery, draw.rng
        seen = Seen(prefdisc, gallery, features_of(prefdisc, gallery))
        trials = draw_trials(world, gallery, draw.unseen, TARGETS, rng)
        known = draw_trials(world, gallery, draw.seen, TARGETS, rng)
        scores = {
            "ideal_observer": np.stack([ideal_scores(world, gallery, trials, rng, after) for after in POINTS]),
            "unseen": judge_after(seen, trials.history, trials.targets, POINTS, "unseen users"),
            "bradley_terry": np.stack([attribute_scores(gallery, trials, penalty, after) for after in POINTS]),
        }
        for name, values in scores.items():
            found[name].append(_right(values, trials.chosen))
        found["seen"].append(
            _right(judge_after(seen, known.history, known.targets, POINTS, "seen users"), known.chosen)
        )
    return {name: np.concatenate(parts, axis=1) for name, parts in found.items()}


def _right(scores: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    return np.stack([right(after, chosen) for after in scores])


def measure(options: Options) -> Report:
    """Measure; every number of pairs is asked about the same targets."""
    got = answers(options)
    found = {name: [over_users(after) for after in values] for name, values in got.items()}
    gaps = [unpaired(a, b) for a, b in zip(got["seen"], got["unseen"], strict=True)]
    gain = paired(got["unseen"][-1], got["unseen"][0])
    last = paired(got["unseen"][-1], got["unseen"][-2])
    result = {
        "points": POINTS,
        **{name: [estimate.to_json() for estimate in row] for name, row in found.items()},
        "seen_minus_unseen": [gap.to_json() for gap in gaps],
        "gain_of_all_pairs": gain.to_json(),
        "gain_of_the_last_pair": last.to_json(),
        "users": options.users,
        "checkpoint": options.checkpoint,
    }
    rows = [
        (str(after), *(found[name][after].text() for name in METHODS), gaps[after].text(sign=True)) for after in POINTS
    ]
    measured = (
        f"Pairwise accuracy after 0 to {PAIRS} pairs, always on the same {TARGETS} test pairs of each user: "
        f"{options.users:,} unseen and as many seen users; posters of test combinations, drawn anew for "
        f"{options.told_seeds}. {CLUSTERED} The regression's penalty is the best one for validation users with "
        f"{PAIRS} pairs."
    )
    notes = [
        f"Eight pairs against none: {gain.text(sign=True)}, paired. The eighth pair alone: {last.text(sign=True)}.",
    ]
    columns = ("pairs", *(label for label, _ in METHODS.values()), "seen - unseen")
    return Report("How many pairs it takes", measured, columns, rows, result, draw(found, gain), notes)


def draw(found: dict[str, list[Estimate]], gain: Estimate) -> Figure:
    """A line with its band for each method, named at its end."""
    drawn, axes = style.figure(7.5, 4.4)
    ends = _apart([found[name][-1].value for name in METHODS], 0.013)
    for (name, (label, colour)), end in zip(METHODS.items(), ends, strict=True):
        low, value, high = (np.array([getattr(e, part) for e in found[name]]) for part in ("low", "value", "high"))
        axes.fill_between(POINTS, low, high, color=colour, alpha=0.15, linewidth=0)
        axes.plot(POINTS, value, color=colour, linewidth=2, marker="o", markersize=4)
        axes.text(PAIRS + 0.2, end, f"{label}  {value[-1]:.3f}", va="center", fontsize=9, color=colour)
    axes.set_xlim(-0.2, PAIRS + 3.4)
    axes.set_xticks(POINTS)
    axes.set_xlabel("pairs in the history", fontsize=9, color=style.INK)
    style.plain(axes)
    style.heading(
        drawn,
        f"Eight pairs add {gain.value:.3f} to PrefDisc's accuracy",
        "Pairwise accuracy on the same test pairs, with 95 % intervals.",
    )
    return drawn


def _apart(values: list[float], least: float) -> list[float]:
    """Heights of labels, moved up where two would lie on each other."""
    placed = {}
    for i in sorted(range(len(values)), key=values.__getitem__):
        placed[i] = max([values[i], *(height + least for height in placed.values())])
    return [placed[i] for i in range(len(values))]


def main(argv: list[str] | None = None) -> dict:
    """The command."""
    return command("references", measure, USERS, argv, about=__doc__)


if __name__ == "__main__":
    main()
