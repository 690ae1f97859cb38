"""Trains variants of the pocket PrefDisc alike and measures them alike: for the ablation and the token counts."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from train.data.agents import World
from train.evaluate.baselines import choose_penalties, clip_features, clip_scores, ideal_scores
from train.evaluate.clusters import FIGURES, of_targets, same_targets
from train.evaluate.command import Options
from train.evaluate.draws import Draw, draws
from train.evaluate.judging import Seen, judge, judge_alone, states_at_targets
from train.evaluate.ranking import right
from train.evaluate.statistics import Estimate, over_seeds
from train.evaluate.trials import STREAM, Trials, draw_trials, features_of
from train.pocket.prefdisc import variants as training
from train.pocket.prefdisc.taste import TasteConfig
from train.pocket.prefdisc.variants import VARIANTS

TARGETS, CLUSTERED_USERS = 12, 250
STEPS = 1000
"""Of every variant's training: far fewer than the shipped model's, and the same for all (default ours). With 500 none
had learnt to tell users apart."""

PEERS = {
    "clip_bradley_terry": "regression on CLIP embeddings",
    "ideal_no_history": "ideal observer, no pairs",
    "ideal_observer": "ideal observer, 8 pairs",
}


@dataclass(frozen=True)
class Trained:
    """One variant's numbers over seeds; a seed is a training, and the users and posters it is tested on.

    Each (seeds,): accuracy on unseen users, on seen ones, and of clustering (see clusters.py).
    """

    unseen: np.ndarray
    seen: np.ndarray
    silhouette: np.ndarray
    davies_bouldin: np.ndarray
    adjusted_rand: np.ndarray

    def estimates(self) -> dict[str, Estimate]:
        """Every number over seeds, and seen less unseen."""
        found = {name: over_seeds(values) for name, values in vars(self).items()}
        return {**found, "seen_minus_unseen": over_seeds(self.seen - self.unseen)}


def add_options(parser: argparse.ArgumentParser) -> None:
    """What training needs to be told."""
    parser.add_argument("--steps", type=int, default=STEPS, help="training steps of every variant")
    parser.add_argument("--batch", type=int, default=TasteConfig.users, help="users in a training batch")
    parser.add_argument("--variants", nargs="+", choices=list(VARIANTS), help="train only these")
    parser.add_argument("--folder", type=Path, default=Path("runs/variants"), help="where states and results are kept")
    parser.add_argument("--training-posters", type=int, default=12_000, help="what the trainings see; a multiple of 12")


def train_and_measure(options: Options, names: Sequence[str]) -> dict[str, Trained]:
    """Every variant at every seed. What is done is kept in the folder, so that a killed run goes on."""
    given = options.given
    budget = {"steps": given.steps, "batch": given.batch, "posters": given.training_posters}
    _keep_budget(given.folder / "budget.json", budget)
    asked = f"{options.users}-{options.posters}-of-{'-'.join(map(str, options.seeds))}"
    # When first asked for: a run that finds everything measured needs no eyes.
    eyes = cache(lambda: training.shipped_eyes(given.folder, given.training_posters))
    rows: dict[str, list[dict]] = {name: [] for name in names}
    for draw in draws(World.load(), options.users, options.seeds, options.posters):
        for name in names:
            # Two names of one variant (the full model has a number of tokens too) are trained once.
            first = next(known for known, variant in VARIANTS.items() if variant == VARIANTS[name])
            folder = given.folder / first / str(draw.seed)
            kept = folder / f"measured-{asked}.json"
            if not kept.exists():
                prefdisc = training.train_variant(first, draw.seed, folder, given.steps, *eyes(), users=given.batch)
                numbers = measure_variant(
                    first, Seen(prefdisc, draw.gallery, features_of(prefdisc, draw.gallery)), draw
                )
                kept.write_text(json.dumps(numbers))
            rows[name].append(json.loads(kept.read_text()))
    return {
        name: Trained(*(np.array([row[field] for row in found]) for field in Trained.__dataclass_fields__))
        for name, found in rows.items()
    }


def measure_variant(name: str, seen: Seen, draw: Draw) -> dict[str, float]:
    """One training's numbers, on trials that are the same for every variant of the seed."""
    variant, world = VARIANTS[name], World.load()
    seen = Seen(seen.prefdisc, seen.gallery, seen.features, words=variant.mode.prompts)
    found = {}
    for kind, utilities in (("unseen", draw.unseen), ("seen", draw.seen)):
        trials = _trials(world, draw, utilities)
        if variant.history:
            scores = judge(seen, trials.history, trials.targets, f"{name}, {kind} users")
        else:
            scores = judge_alone(seen)[trials.targets]
        found[kind] = float(right(scores, trials.chosen).mean())
        if kind == "unseen":
            users = trials.history[:CLUSTERED_USERS]
            rng = np.random.default_rng([STREAM, 5, draw.seed])
            rows = same_targets(len(draw.gallery.attributes), len(users), rng)
            states = states_at_targets(seen, users, rows, f"{name}, before one target") if variant.history else None
            groups = draw.groups[: len(users)]
    # With no history every user is the same point: there is nothing to cluster.
    nothing = dict.fromkeys(FIGURES, float("nan"))
    return {**found, **(nothing if states is None else of_targets(states, groups, world.groups))}


def measure_peers(options: Options) -> dict[str, np.ndarray]:
    """Accuracy of what is not trained, on the variants' trials: name -> one value a seed."""
    world, penalties = World.load(), choose_penalties(World.load())
    found: dict[str, list[float]] = {name: [] for name in PEERS}
    for draw in draws(world, options.users, options.seeds, options.posters):
        trials, rng = _trials(world, draw, draw.unseen), draw.rng
        scores = {
            "clip_bradley_terry": clip_scores(clip_features(draw.gallery), trials, penalties.clip),
            "ideal_no_history": ideal_scores(world, draw.gallery, trials, rng, after=0),
            "ideal_observer": ideal_scores(world, draw.gallery, trials, rng),
        }
        for name, values in scores.items():
            found[name].append(right(values, trials.chosen).mean())
    return {name: np.array(values) for name, values in found.items()}


def _trials(world: World, draw: Draw, utilities: np.ndarray) -> Trials:
    """The same for every variant of a seed, whatever else was drawn before."""
    return draw_trials(world, draw.gallery, utilities, TARGETS, np.random.default_rng([STREAM, 3, draw.seed]))


def _keep_budget(file: Path, budget: dict) -> None:
    """Raises ValueError where the folder's trainings had another budget: resumed, they would be half of each."""
    if file.exists() and (known := json.loads(file.read_text())) != budget:
        raise ValueError(f"{file.parent} holds trainings of {known}, asked for {budget}: name another --folder")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(budget))


def budget_text(options: Options) -> str:
    """The budget, for the table's text."""
    given = options.given
    return (
        f"{given.steps:,} steps of {given.batch} users each, {len(options.seeds)} trainings of every variant (seeds "
        f"{', '.join(map(str, options.seeds))}), all with the shipped model's eyes; each is tested on its seed's share "
        f"of {options.users:,} unseen and as many seen users, {TARGETS} pairs each, the same for every variant"
    )
