"""Runs PrefDisc, upper limits, controls and regressions on the same choice trials."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from train.data.agents import World
from train.evaluate import plotting
from train.evaluate.baselines import attribute_scores, choose_penalties, clip_features, clip_scores, ideal_scores
from train.evaluate.choice_trials import draw_trials, gallery_features
from train.evaluate.command import Options
from train.evaluate.prefdisc_scoring import EncodedGallery, score_targets, score_without_history
from train.evaluate.seed_samples import sample_seeds

METHODS = {
    "true_utility": ("the user's true utility", plotting.LIMIT),
    "ideal_observer": ("ideal observer, 8 pairs", plotting.LIMIT),
    "seen": ("PrefDisc, seen users", plotting.OURS),
    "unseen": ("PrefDisc, unseen users", plotting.OURS),
    "ideal_no_history": ("ideal observer, no pairs", plotting.LIMIT),
    "bradley_terry": ("regression on true attributes", plotting.PEER),
    "clip_bradley_terry": ("regression on CLIP embeddings", plotting.PEER),
    "no_history": ("PrefDisc, no history", plotting.CONTROL),
    "wrong_history": ("PrefDisc, another user's history", plotting.CONTROL),
}
"""Label and colour of each method in tables and figures."""

LEGEND = "Green: upper limits. Blue: PrefDisc. Orange: controls. Grey: regressions on the user's own pairs."


def evaluate_methods(
    options: Options, targets: int, choices: int, grade: Callable[[np.ndarray, np.ndarray], np.ndarray]
) -> dict[str, np.ndarray]:
    """Score the same trials with every method, and grade the scores against the users' choices.

    Args:
        options: Options of the command.
        targets: Target sets for each user.
        choices: Images in each set.
        grade: Maps scores (n, m, c) and choices (n, m) to grades.

    Returns:
        Grades by method, with users on the first axis. User i is the same in all arrays except "seen".
    """
    world, prefdisc = World.load(), options.model().prefdisc
    penalties, grades = choose_penalties(world), {name: [] for name in METHODS}
    for sample in sample_seeds(world, options.users, options.seeds, options.posters):
        gallery, rng = sample.gallery, sample.rng
        encoded = EncodedGallery(prefdisc, gallery, gallery_features(prefdisc, gallery))
        trials = draw_trials(world, gallery, sample.unseen, targets, rng, choices=choices)
        seen_trials = draw_trials(world, gallery, sample.seen, targets, rng, choices=choices)
        wrong = trials.with_history_of_others()
        scores = {
            "true_utility": trials.truth,
            "ideal_observer": ideal_scores(world, gallery, trials, rng),
            "unseen": score_targets(encoded, trials.history, trials.targets, "unseen users"),
            "ideal_no_history": ideal_scores(world, gallery, trials, rng, after=0),
            "bradley_terry": attribute_scores(gallery, trials, penalties.attributes),
            "clip_bradley_terry": clip_scores(clip_features(gallery), trials, penalties.clip),
            "no_history": score_without_history(encoded)[trials.targets],
            "wrong_history": score_targets(encoded, wrong.history, trials.targets, "another user's history"),
        }
        for name, values in scores.items():
            grades[name].append(grade(values, trials.chosen))
        grades["seen"].append(
            grade(score_targets(encoded, seen_trials.history, seen_trials.targets, "seen users"), seen_trials.chosen)
        )
    return {name: np.concatenate(parts) for name, parts in grades.items()}
