"""`python -m train.evaluate.ratings_curve`: accuracy after 0 to 128 pairs, in two worlds of simulated users.

The fixed world has the groups of users that PrefDisc was trained on; in the free world every taste is its own
(`train/configs/world_free.yaml`). The taste head is fitted to all pairs; PrefDisc reads the first eight. The head has
a prior for each world, learned from the choices of training users, never from their utilities; a user's ratings weight
the priors by their evidence.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from prefgen.taste import FeatureScaling, Observations, TastePrior, fit_taste
from prefgen.taste.laplace import LogisticTargets
from train.data.agents import WORLD, World
from train.evaluate import plotting
from train.evaluate.accuracy import correct_choices
from train.evaluate.baselines import clip_features, ideal_scores
from train.evaluate.choice_trials import PAIRS, RNG_STREAM, draw_gallery, draw_trials, gallery_features
from train.evaluate.command import CLUSTERED_NOTE, Options, Report, run_command
from train.evaluate.prefdisc_scoring import EncodedGallery, score_after_pairs
from train.evaluate.statistics import Estimate, mean_over_users, paired_difference
from train.taste.population_prior import fit_population_prior

WORLDS = {"fixed": WORLD, "free": WORLD.with_name("world_free.yaml")}
COUNTS = (0, 2, 4, 8, 16, 32, 64, 128)
USERS, TARGETS, POSTERS = 600, 8, 60
TRAINING_USERS, TRAINING_PAIRS = 400, 64
"""Training users of each world, and their pairs, from which the priors are learned."""

COMPONENTS = 40
"""Number of principal components of the features. The world has 19 independent differences of taste values."""

MARGIN_SCALE = 4.0
"""Divides PrefDisc's margins, which are then as large as other features."""

BARS = {"fixed": {8: 0.86, 16: 0.90, 32: 0.90, 64: 0.90, 128: 0.90}, "free": {16: 0.80, 32: 0.80, 64: 0.80, 128: 0.80}}
OURS = "prefdisc_and_head"
METHODS = {
    "ideal_observer": ("ideal observer", plotting.LIMIT),
    OURS: ("PrefDisc and head", plotting.OURS),
    "head": ("head on PrefDisc's features", "#56b4e9"),
    "clip_head": ("head on the pocket CLIP", "#e69f00"),
    "prefdisc": ("PrefDisc alone", "#cc79a7"),
    "mean_taste": ("mean taste", plotting.QUIET),
}


@dataclass(frozen=True)
class Head:
    """A taste head for posters: its features and the prior of its weights.

    Attributes:
        center: Mean of the features of unit length, (D,).
        directions: Principal directions of the features, (D, COMPONENTS).
        priors: Priors of the weights of the principal components, of PrefDisc's margin if it is used, and of the bias:
            one for each world. Each user's ratings weight them by their evidence.
    """

    center: Tensor
    directions: Tensor
    priors: tuple[TastePrior, ...] = ()

    @classmethod
    def of_gallery(cls, features: Tensor) -> Head:
        """Find the principal directions of a gallery's features (N, D)."""
        units = F.normalize(features.double(), dim=-1)
        _, scales, directions = torch.linalg.svd(units - units.mean(0), full_matrices=False)
        total = scales.square().sum().sqrt() / len(features) ** 0.5
        return cls(units.mean(0), directions[:COMPONENTS].T / total)

    def rows(self, features: Tensor, margins: np.ndarray | None = None) -> Tensor:
        """Return what the head is linear in: principal components, and PrefDisc's margin if it is used.

        Args:
            features: Image features, (..., D).
            margins: PrefDisc's margins, (...).
        """
        components = (F.normalize(features.double(), dim=-1) - self.center) @ self.directions
        if margins is None:
            return components
        return torch.cat([components, torch.from_numpy(margins)[..., None] / MARGIN_SCALE], dim=-1)

    def learn_priors(self, rows: Tensor, worlds: int) -> Head:
        """Learn a prior for each world from the choices of training users.

        Args:
            rows: Rows of the pairs' images, (users, pairs, 2, D), the liked image first. Users are sorted by world.
            worlds: Number of worlds, with equal numbers of users.
        """
        differences = rows[..., 0, :] - rows[..., 1, :]
        differences = torch.cat([differences, differences.new_zeros(*differences.shape[:2], 1)], dim=-1)
        priors = []
        for part in differences.chunk(worlds):
            ones = torch.ones(part.shape[:2], dtype=torch.float64)
            data = LogisticTargets(torch.zeros_like(ones), ones, ones)
            priors.append(fit_population_prior(part, data, initial_scale=0.5, prior_people=1.0))
        return replace(self, priors=tuple(priors))

    def scores(self, history: Tensor, targets: Tensor) -> np.ndarray:
        """Return the logits of one user's targets, (m, 2).

        Args:
            history: Rows of the pairs' images, (k, 2, D), the liked image first.
            targets: Rows of the targets, (m, 2, D).
        """
        if not len(history):
            return sum(targets @ prior.mean[:-1] for prior in self.priors).numpy()
        scaling = FeatureScaling(targets.new_zeros(targets.shape[-1]), 1.0, unit_length=False)
        images = torch.arange(2 * len(history)).view(-1, 2)
        observations = Observations.from_pairs(images[:, 0], images[:, 1])
        heads = [fit_taste(history.flatten(0, 1), observations, prior, scaling) for prior in self.priors]
        weights = torch.tensor([head.log_evidence for head in heads], dtype=torch.float64).softmax(0)
        return sum(weight * head.logits(targets) for weight, head in zip(weights, heads, strict=True)).numpy()


def measure(options: Options) -> Report:
    """Measure all methods in both worlds, always on the same targets."""
    model, seeds = options.model(), options.seeds
    training = list(_galleries(model, np.random.default_rng([RNG_STREAM, 7, *seeds]), "train", options))
    worlds = {name: World.load(path) for name, path in WORLDS.items()}
    heads = learn_heads(training, worlds, seeds)
    test = list(_galleries(model, np.random.default_rng([RNG_STREAM, 8, *seeds]), "test", options))
    correct = {name: measure_world(name, world, heads, test, options) for name, world in worlds.items()}
    accuracy = {
        world: {name: [mean_over_users(after) for after in values] for name, values in methods.items()}
        for world, methods in correct.items()
    }
    result = {world: _summary(accuracy[world], correct[world]) for world in correct}
    result["below_mean"] = any(result[world].pop("below_mean") for world in correct)
    result |= {"users": options.users, "counts": list(COUNTS), "checkpoint": options.checkpoint}
    rows = [
        (world, str(count), *(accuracy[world][name][i].text() for name in METHODS), _share_text(result, world, count))
        for world in correct
        for i, count in enumerate(COUNTS)
    ]
    measured = (
        f"Pairwise accuracy of {options.users} unseen users of each world on {TARGETS} test pairs each, after 0 to 128 "
        f"pairs, with {options.seeds_text}. Share: (PrefDisc and head - mean taste) / (ideal observer - mean taste). "
        "The mean taste is the ideal observer without pairs. The priors of the head were learned from the choices of "
        f"{TRAINING_USERS} training users of each world. {CLUSTERED_NOTE}"
    )
    columns = ("world", "pairs", *(label for label, _ in METHODS.values()), "share")
    return Report("Accuracy by number of ratings", measured, columns, rows, result, plot(accuracy))


def _galleries(model, rng: np.random.Generator, split: str, options: Options) -> Iterator[object]:
    """Yield a gallery, its PrefDisc tokens and its CLIP embeddings."""
    gallery = draw_gallery(rng, options.posters or POSTERS, split)
    encoded = EncodedGallery(model.prefdisc, gallery, gallery_features(model.prefdisc, gallery))
    yield from (gallery, encoded, torch.from_numpy(clip_features(gallery)))


def prefdisc_margins(encoded: EncodedGallery, history: np.ndarray, targets: np.ndarray, desc: str) -> np.ndarray:
    """Return PrefDisc's margin, the logit of its score, of targets (n, m, 2) after the first eight pairs."""
    used = history[:, :PAIRS]
    scores = score_after_pairs(encoded, used, targets, [used.shape[1]], desc)[0]
    scores = np.clip(scores.astype(float), 1e-6, 1 - 1e-6)
    return np.log(scores / (1 - scores))


def history_margins(encoded: EncodedGallery, history: np.ndarray, desc: str) -> np.ndarray:
    """Return PrefDisc's margins of a history's own images, without the pair that they belong to: (n, k, 2)."""
    used = min(history.shape[1], PAIRS)
    parts: list[np.ndarray] = []
    for index in range(used):
        others = np.delete(history[:, :used], index, axis=1)
        parts.append(prefdisc_margins(encoded, others, history[:, index : index + 1], desc))
    if history.shape[1] > used:
        parts.append(prefdisc_margins(encoded, history[:, :used], history[:, used:], desc))
    return np.concatenate(parts, axis=1)


def learn_heads(training: list, worlds: dict[str, World], seeds: list[int]) -> dict[str, Head]:
    """Learn a prior for each head from the choices of training users of both worlds."""
    gallery, encoded, clip = training
    rng = np.random.default_rng([RNG_STREAM, 9, *seeds])
    trials = [
        draw_trials(world, gallery, world.sample(TRAINING_USERS, rng)[0], 1, rng, TRAINING_PAIRS)
        for world in worlds.values()
    ]
    history = np.concatenate([part.history for part in trials])
    margins = history_margins(encoded, history, "training users")
    pooled = encoded.features.mean(1)
    head, clip_head = Head.of_gallery(pooled), Head.of_gallery(clip)
    return {
        OURS: head.learn_priors(head.rows(pooled[history], margins), len(worlds)),
        "head": head.learn_priors(head.rows(pooled[history]), len(worlds)),
        "clip_head": clip_head.learn_priors(clip_head.rows(clip[history]), len(worlds)),
    }


def measure_world(
    name: str, world: World, heads: dict[str, Head], test: list, options: Options
) -> dict[str, np.ndarray]:
    """Return which choices are predicted after each number of pairs: (counts, users, TARGETS) by method."""
    gallery, encoded, clip = test
    rng = np.random.default_rng([RNG_STREAM, 10, *options.seeds, list(WORLDS).index(name)])
    trials = draw_trials(world, gallery, world.sample(options.users, rng)[0], TARGETS, rng, max(COUNTS))
    pooled, history, targets = encoded.features.mean(1), trials.history, trials.targets
    scores: dict[str, list[np.ndarray]] = {method: [] for method in METHODS}
    mean_taste = ideal_scores(world, gallery, trials, rng, 0)
    all_margins = history_margins(encoded, history, f"{name} world, pairs of the history")
    for count in COUNTS:
        desc = f"{name} world, {count} pairs"
        if count <= PAIRS:  # PrefDisc reads the first eight pairs, whatever follows
            target_margins = prefdisc_margins(encoded, history[:, :count], targets, desc)
        margins = history_margins(encoded, history[:, :count], desc) if 0 < count < PAIRS else all_margins[:, :count]
        known = history[:, :count]
        scores["mean_taste"].append(mean_taste)
        scores["prefdisc"].append(target_margins)
        scores["ideal_observer"].append(ideal_scores(world, gallery, trials, rng, count))
        scores[OURS].append(_head_scores(heads[OURS], pooled[known], pooled[targets], (margins, target_margins), desc))
        scores["head"].append(_head_scores(heads["head"], pooled[known], pooled[targets], None, desc))
        scores["clip_head"].append(_head_scores(heads["clip_head"], clip[known], clip[targets], None, desc))
    return {method: np.stack([correct_choices(s, trials.chosen) for s in parts]) for method, parts in scores.items()}


def _head_scores(
    head: Head, history: Tensor, targets: Tensor, margins: tuple[np.ndarray, np.ndarray] | None, desc: str
) -> np.ndarray:
    """Return the logits of all users' targets, (n, m, 2)."""
    of_history, of_targets = margins or (None, None)
    history, targets = head.rows(history, of_history), head.rows(targets, of_targets)
    users = tqdm(zip(history, targets, strict=True), total=len(history), desc=desc, mininterval=2, leave=False)
    return np.stack([head.scores(*user) for user in users])


def _summary(accuracy: dict[str, list[Estimate]], correct: dict[str, np.ndarray]) -> dict:
    """Return the shares, the accuracies, and whether ours is below the mean taste by more than a standard error."""
    shares, below = {}, False
    for i, count in enumerate(COUNTS):
        ours, mean, ideal = (accuracy[name][i].value for name in (OURS, "mean_taste", "ideal_observer"))
        if count:
            shares[str(count)] = round((ours - mean) / (ideal - mean), 4)
        gain = paired_difference(correct[OURS][i], correct["mean_taste"][i])
        below |= gain.value < -gain.stderr
    rows = {name: [estimate.to_json() for estimate in estimates] for name, estimates in accuracy.items()}
    return {"share": shares, "below_mean": bool(below), "accuracy": rows}


def _share_text(result: dict, world: str, count: int) -> str:
    share = result[world]["share"].get(str(count))
    bar = BARS[world].get(count)
    return "" if share is None else f"{share:.3f}" + (f" (bar {bar:.2f})" if bar else "")


def plot(accuracy: dict[str, dict[str, list[Estimate]]]):
    """Plot the accuracy by number of pairs, one panel for each world."""
    figure, axes = plotting.new_figure(9, 4, columns=2, sharey=True)
    places = range(len(COUNTS))
    for axis, (world, methods) in zip(axes, accuracy.items(), strict=True):
        for name, (label, colour) in METHODS.items():
            low, value, high = ([getattr(e, part) for e in methods[name]] for part in ("low", "value", "high"))
            axis.fill_between(places, low, high, color=colour, alpha=0.15, linewidth=0)
            axis.plot(places, value, color=colour, linewidth=2, marker="o", markersize=3, label=label)
        axis.set_xticks(places, list(map(str, COUNTS)))
        axis.set_xlabel(f"pairs, {world} world", fontsize=9, color=plotting.INK)
        plotting.clean_axes(axis)
    axes[0].legend(frameon=False, fontsize=8)
    plotting.set_heading(figure, "Accuracy by number of ratings", "Unseen users, with 95 % intervals.")
    return figure


def main(argv: list[str] | None = None) -> dict:
    """Run the command."""
    return run_command("ratings_curve", measure, USERS, argv, description=__doc__)


if __name__ == "__main__":
    main()
