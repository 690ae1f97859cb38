"""Measures accuracy with 0 to 8 pairs of history, on seen and unseen users.

    python -m train.evaluate.references

Paper index section 2: the N_ref sweep (001 figure 6, 003 figure 5).
"""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from train.data.agents import World
from train.evaluate import plotting
from train.evaluate.accuracy import correct_choices
from train.evaluate.baselines import attribute_scores, choose_penalties, ideal_scores
from train.evaluate.choice_trials import PAIRS, draw_trials, gallery_features
from train.evaluate.command import CLUSTERED_NOTE, Options, Report, run_command
from train.evaluate.prefdisc_scoring import EncodedGallery, score_after_pairs
from train.evaluate.seed_samples import sample_seeds
from train.evaluate.statistics import Estimate, mean_over_users, paired_difference, unpaired_difference

USERS, TARGETS = 1500, 4
POINTS = list(range(PAIRS + 1))
METHODS = {
    "ideal_observer": ("ideal observer", plotting.LIMIT),
    "unseen": ("PrefDisc, unseen users", plotting.OURS),
    "seen": ("PrefDisc, seen users", "#56b4e9"),
    "bradley_terry": ("regression on true attributes", plotting.QUIET),
}


def correct_by_pairs(options: Options) -> dict[str, np.ndarray]:
    """Return which choices are predicted after 0 to 8 pairs, on the same targets: (9, users, TARGETS) by method."""
    world, prefdisc = World.load(), options.model().prefdisc
    penalty, correct = choose_penalties(world).attributes, {name: [] for name in METHODS}
    for sample in sample_seeds(world, options.users, options.seeds, options.posters):
        gallery, rng = sample.gallery, sample.rng
        encoded = EncodedGallery(prefdisc, gallery, gallery_features(prefdisc, gallery))
        trials = draw_trials(world, gallery, sample.unseen, TARGETS, rng)
        seen_trials = draw_trials(world, gallery, sample.seen, TARGETS, rng)
        scores = {
            "ideal_observer": np.stack([ideal_scores(world, gallery, trials, rng, after) for after in POINTS]),
            "unseen": score_after_pairs(encoded, trials.history, trials.targets, POINTS, "unseen users"),
            "bradley_terry": np.stack([attribute_scores(gallery, trials, penalty, after) for after in POINTS]),
        }
        for name, values in scores.items():
            correct[name].append(_correct(values, trials.chosen))
        correct["seen"].append(
            _correct(
                score_after_pairs(encoded, seen_trials.history, seen_trials.targets, POINTS, "seen users"),
                seen_trials.chosen,
            )
        )
    return {name: np.concatenate(parts, axis=1) for name, parts in correct.items()}


def _correct(scores: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    return np.stack([correct_choices(after, chosen) for after in scores])


def measure(options: Options) -> Report:
    """Measure all methods after 0 to 8 pairs, always on the same targets."""
    correct = correct_by_pairs(options)
    accuracy = {name: [mean_over_users(after) for after in values] for name, values in correct.items()}
    gaps = [unpaired_difference(a, b) for a, b in zip(correct["seen"], correct["unseen"], strict=True)]
    gain = paired_difference(correct["unseen"][-1], correct["unseen"][0])
    last = paired_difference(correct["unseen"][-1], correct["unseen"][-2])
    result = {
        "points": POINTS,
        **{name: [estimate.to_json() for estimate in row] for name, row in accuracy.items()},
        "seen_minus_unseen": [gap.to_json() for gap in gaps],
        "gain_of_all_pairs": gain.to_json(),
        "gain_of_the_last_pair": last.to_json(),
        "users": options.users,
        "checkpoint": options.checkpoint,
    }
    rows = [
        (str(after), *(accuracy[name][after].text() for name in METHODS), gaps[after].text(sign=True))
        for after in POINTS
    ]
    measured = (
        f"Pairwise accuracy after 0 to {PAIRS} pairs, always on the same {TARGETS} test pairs of each user: "
        f"{options.users:,} unseen and as many seen users. Posters have the attribute combinations of the test split "
        f"and are drawn anew for {options.seeds_text}. {CLUSTERED_NOTE} The regression's penalty was chosen on "
        f"validation users with {PAIRS} pairs."
    )
    notes = [
        f"Gain from eight pairs: {gain.text(sign=True)}, paired. Gain from the eighth pair: {last.text(sign=True)}.",
    ]
    columns = ("pairs", *(label for label, _ in METHODS.values()), "seen - unseen")
    return Report("Accuracy by history length", measured, columns, rows, result, plot(accuracy, gain), notes)


def plot(accuracy: dict[str, list[Estimate]], gain: Estimate) -> Figure:
    """Plot a line with an interval band for each method, labelled at its end."""
    figure, axes = plotting.new_figure(7.5, 4.4)
    ends = _spread_labels([accuracy[name][-1].value for name in METHODS], 0.013)
    for (name, (label, colour)), end in zip(METHODS.items(), ends, strict=True):
        low, value, high = (np.array([getattr(e, part) for e in accuracy[name]]) for part in ("low", "value", "high"))
        axes.fill_between(POINTS, low, high, color=colour, alpha=0.15, linewidth=0)
        axes.plot(POINTS, value, color=colour, linewidth=2, marker="o", markersize=4)
        axes.text(PAIRS + 0.2, end, f"{label}  {value[-1]:.3f}", va="center", fontsize=9, color=colour)
    axes.set_xlim(-0.2, PAIRS + 3.4)
    axes.set_xticks(POINTS)
    axes.set_xlabel("pairs in the history", fontsize=9, color=plotting.INK)
    plotting.clean_axes(axes)
    plotting.set_heading(
        figure,
        f"Eight pairs add {gain.value:.3f} to PrefDisc's accuracy",
        "Pairwise accuracy on the same test pairs, with 95 % intervals.",
    )
    return figure


def _spread_labels(values: list[float], min_gap: float) -> list[float]:
    """Return label heights, moved up where labels would overlap."""
    placed = {}
    for i in sorted(range(len(values)), key=values.__getitem__):
        placed[i] = max([values[i], *(height + min_gap for height in placed.values())])
    return [placed[i] for i in range(len(values))]


def main(argv: list[str] | None = None) -> dict:
    """Run the command."""
    return run_command("references", measure, USERS, argv, description=__doc__)


if __name__ == "__main__":
    main()
