"""Trains and measures variants of the pocket PrefDisc with equal budgets, for `ablation` and `tokens`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from train.data.agents import World
from train.evaluate.accuracy import correct_choices
from train.evaluate.baselines import choose_penalties, clip_features, clip_scores, ideal_scores
from train.evaluate.choice_trials import RNG_STREAM, Trials, draw_trials, gallery_features
from train.evaluate.clusters import METRICS, mean_clustering, same_targets
from train.evaluate.command import Options
from train.evaluate.prefdisc_scoring import EncodedGallery, score_targets, score_without_history, target_hidden_states
from train.evaluate.seed_samples import SeedSample, sample_seeds
from train.evaluate.statistics import Estimate, mean_over_seeds
from train.pocket.prefdisc import variants as training
from train.pocket.prefdisc.decoder_training import DecoderConfig
from train.pocket.prefdisc.variants import VARIANTS

TARGETS, CLUSTERED_USERS = 12, 250
STEPS = 1000
"""Training steps of every variant (our choice), far fewer than for the shipped model. With 500 steps, no variant
learned to distinguish users."""

BASELINES = {
    "clip_bradley_terry": "regression on CLIP embeddings",
    "ideal_no_history": "ideal observer, no pairs",
    "ideal_observer": "ideal observer, 8 pairs",
}


@dataclass(frozen=True)
class VariantResults:
    """Results of one variant, one value for each seed: a seed determines the training and the test users and posters.

    Attributes:
        unseen: Accuracy on unseen users, (seeds,).
        seen: Accuracy on seen users, (seeds,).
        silhouette: See clusters.py, (seeds,).
        davies_bouldin: See clusters.py, (seeds,).
        adjusted_rand: See clusters.py, (seeds,).
    """

    unseen: np.ndarray
    seen: np.ndarray
    silhouette: np.ndarray
    davies_bouldin: np.ndarray
    adjusted_rand: np.ndarray

    def estimates(self) -> dict[str, Estimate]:
        """Return the estimate of each value over seeds, and of seen minus unseen."""
        estimates = {name: mean_over_seeds(values) for name, values in vars(self).items()}
        return {**estimates, "seen_minus_unseen": mean_over_seeds(self.seen - self.unseen)}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the trainings."""
    parser.add_argument("--steps", type=int, default=STEPS, help="training steps of each variant")
    parser.add_argument("--batch", type=int, default=DecoderConfig.users, help="users in a training batch")
    parser.add_argument("--variants", nargs="+", choices=list(VARIANTS), help="train only these variants")
    parser.add_argument(
        "--folder", type=Path, default=Path("runs/variants"), help="folder for training states and results"
    )
    parser.add_argument(
        "--training-posters", type=int, default=12_000, help="number of training posters, a multiple of 12"
    )


def train_and_measure(options: Options, names: Sequence[str]) -> dict[str, VariantResults]:
    """Train and measure every variant with every seed.

    Finished parts are stored in --folder, so that an interrupted run can be continued.
    """
    arguments = options.arguments
    budget = {"steps": arguments.steps, "batch": arguments.batch, "posters": arguments.training_posters}
    _check_budget(arguments.folder / "budget.json", budget)
    test_key = f"{options.users}-{options.posters}-of-{'-'.join(map(str, options.seeds))}"
    # Lazy: not needed if every variant was measured before.
    vision = cache(lambda: training.load_shipped_vision(arguments.folder, arguments.training_posters))
    rows: dict[str, list[dict]] = {name: [] for name in names}
    for sample in sample_seeds(World.load(), options.users, options.seeds, options.posters):
        for name in names:
            # Two names may denote the same variant (the full model is also one of the token counts): train it once.
            first = next(other for other, variant in VARIANTS.items() if variant == VARIANTS[name])
            folder = arguments.folder / first / str(sample.seed)
            result_file = folder / f"measured-{test_key}.json"
            if not result_file.exists():
                prefdisc = training.train_variant(
                    first, sample.seed, folder, arguments.steps, *vision(), users=arguments.batch
                )
                numbers = measure_variant(
                    first, EncodedGallery(prefdisc, sample.gallery, gallery_features(prefdisc, sample.gallery)), sample
                )
                result_file.write_text(json.dumps(numbers))
            rows[name].append(json.loads(result_file.read_text()))
    return {
        name: VariantResults(
            *(np.array([row[field] for row in seed_rows]) for field in VariantResults.__dataclass_fields__)
        )
        for name, seed_rows in rows.items()
    }


def measure_variant(name: str, encoded: EncodedGallery, sample: SeedSample) -> dict[str, float]:
    """Measure one trained variant, on trials that are the same for every variant of the seed."""
    variant, world = VARIANTS[name], World.load()
    encoded = EncodedGallery(encoded.prefdisc, encoded.gallery, encoded.features, use_prompts=variant.mode.prompts)
    results = {}
    for kind, utilities in (("unseen", sample.unseen), ("seen", sample.seen)):
        trials = _trials(world, sample, utilities)
        if variant.history:
            scores = score_targets(encoded, trials.history, trials.targets, f"{name}, {kind} users")
        else:
            scores = score_without_history(encoded)[trials.targets]
        results[kind] = float(correct_choices(scores, trials.chosen).mean())
        if kind == "unseen":
            users = trials.history[:CLUSTERED_USERS]
            rng = np.random.default_rng([RNG_STREAM, 5, sample.seed])
            rows = same_targets(len(sample.gallery.attributes), len(users), rng)
            states = target_hidden_states(encoded, users, rows, f"{name}, at one target") if variant.history else None
            groups = sample.groups[: len(users)]
    # Without a history all users have the same state, so there is nothing to cluster.
    undefined = dict.fromkeys(METRICS, float("nan"))
    return {**results, **(undefined if states is None else mean_clustering(states, groups, world.groups))}


def measure_baselines(options: Options) -> dict[str, np.ndarray]:
    """Measure the accuracy of the untrained baselines on the same trials: one value for each seed, by name."""
    world, penalties = World.load(), choose_penalties(World.load())
    accuracies: dict[str, list[float]] = {name: [] for name in BASELINES}
    for sample in sample_seeds(world, options.users, options.seeds, options.posters):
        trials, rng = _trials(world, sample, sample.unseen), sample.rng
        scores = {
            "clip_bradley_terry": clip_scores(clip_features(sample.gallery), trials, penalties.clip),
            "ideal_no_history": ideal_scores(world, sample.gallery, trials, rng, after=0),
            "ideal_observer": ideal_scores(world, sample.gallery, trials, rng),
        }
        for name, values in scores.items():
            accuracies[name].append(correct_choices(values, trials.chosen).mean())
    return {name: np.array(values) for name, values in accuracies.items()}


def _trials(world: World, sample: SeedSample, utilities: np.ndarray) -> Trials:
    """Draw trials that depend on the seed and the users only, not on the state of `sample.rng`."""
    return draw_trials(world, sample.gallery, utilities, TARGETS, np.random.default_rng([RNG_STREAM, 3, sample.seed]))


def _check_budget(file: Path, budget: dict) -> None:
    """Raise ValueError if the folder has trainings with another budget, which would be resumed with this one."""
    if file.exists() and (stored := json.loads(file.read_text())) != budget:
        raise ValueError(f"{file.parent} has trainings with {stored}; expected {budget}. Choose another --folder.")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(budget))


def budget_text(options: Options) -> str:
    """Describe the budget for the text above the table."""
    arguments = options.arguments
    return (
        f"{arguments.steps:,} training steps of {arguments.batch} users each, {len(options.seeds)} trainings of each "
        f"variant (seeds {', '.join(map(str, options.seeds))}), all with the shipped model's vision tower. The test "
        f"users, {options.users:,} unseen and as many seen ones with {TARGETS} pairs each, are divided among the seeds "
        "and are the same for every variant"
    )
