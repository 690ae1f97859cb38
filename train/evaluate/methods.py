"""PrefDisc, the limits, the controls and the regressions, all asked about the same targets."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from train.data.agents import World
from train.evaluate import style
from train.evaluate.baselines import attribute_scores, choose_penalties, clip_features, clip_scores, ideal_scores
from train.evaluate.command import Options
from train.evaluate.draws import draws
from train.evaluate.judging import Seen, judge, judge_alone
from train.evaluate.trials import draw_trials, features_of

METHODS = {
    "true_utility": ("the user's true utility", style.LIMIT),
    "ideal_observer": ("ideal observer, 8 pairs", style.LIMIT),
    "seen": ("PrefDisc, seen users", style.OURS),
    "unseen": ("PrefDisc, unseen users", style.OURS),
    "ideal_no_history": ("ideal observer, no pairs", style.LIMIT),
    "bradley_terry": ("regression on true attributes", style.PEER),
    "clip_bradley_terry": ("regression on CLIP embeddings", style.PEER),
    "no_history": ("PrefDisc, no history", style.CONTROL),
    "wrong_history": ("PrefDisc, another's history", style.CONTROL),
}
"""Name -> what tables call it, and its colour."""

LEGEND = "Green: what could be known. Blue: PrefDisc. Orange: controls. Grey: regressions on a user's own pairs."


def ask(
    options: Options, targets: int, choices: int, grade: Callable[[np.ndarray, np.ndarray], np.ndarray]
) -> dict[str, np.ndarray]:
    """Grade every method's scores (n, m, c) by what was chosen (n, m): name -> grades, users along the first axis.

    targets: sets of each user; choices: images in a set. User i is the same one in every array but that of `seen`.
    """
    world, prefdisc = World.load(), options.model().prefdisc
    penalties, found = choose_penalties(world), {name: [] for name in METHODS}
    for draw in draws(world, options.users, options.seeds, options.posters):
        gallery, rng = draw.gallery, draw.rng
        seen = Seen(prefdisc, gallery, features_of(prefdisc, gallery))
        trials = draw_trials(world, gallery, draw.unseen, targets, rng, choices=choices)
        known = draw_trials(world, gallery, draw.seen, targets, rng, choices=choices)
        wrong = trials.with_history_of_others()
        scores = {
            "true_utility": trials.truth,
            "ideal_observer": ideal_scores(world, gallery, trials, rng),
            "unseen": judge(seen, trials.history, trials.targets, "unseen users"),
            "ideal_no_history": ideal_scores(world, gallery, trials, rng, after=0),
            "bradley_terry": attribute_scores(gallery, trials, penalties.attributes),
            "clip_bradley_terry": clip_scores(clip_features(gallery), trials, penalties.clip),
            "no_history": judge_alone(seen)[trials.targets],
            "wrong_history": judge(seen, wrong.history, trials.targets, "another's history"),
        }
        for name, values in scores.items():
            found[name].append(grade(values, trials.chosen))
        found["seen"].append(grade(judge(seen, known.history, known.targets, "seen users"), known.chosen))
    return {name: np.concatenate(parts) for name, parts in found.items()}
