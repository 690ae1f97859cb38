"""Baselines for PrefDisc: an ideal observer that knows the simulator, and regressions on attributes or CLIP features.

Every method returns scores of the targets, (n, m, c). Only their order within a set matters.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch

from prefgen.embedding.image_tower import ImageTower, load_image_tower
from prefgen.pocket.shapes import weights_path
from train.data.agents import World
from train.data.limits import bradley_terry, choose_penalty, ideal_observer
from train.data.posterior import laplace, sigmoid
from train.evaluate.accuracy import correct_choices
from train.evaluate.choice_trials import RNG_STREAM, Gallery, Trials, draw_gallery, draw_trials

VALIDATION_USERS, VALIDATION_TARGETS, VALIDATION_POSTERS = 1000, 8, 40
"""Users, target pairs of each and posters of each subject for the choice of penalties (our choice)."""
CLIP_PENALTIES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
"""A wide grid, because the scale of the embeddings does not predict the best penalty."""

PairPredictor = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Maps a history (n, k, 2, ...) and pairs (n, m, 2, ...) to P(first preferred), (n, m)."""


def scores_from_pairs(predict: PairPredictor, history: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Score sets of any size with a method for pairs: the expected number of other images that an image beats.

    For a regression this gives the order of its utilities, for the ideal observer nearly the best order.

    Args:
        predict: The method for pairs.
        history: (n, k, 2, ...), in the representation that `predict` takes.
        targets: (n, m, c, ...), in the same representation.

    Returns:
        Scores, (n, m, c).
    """
    n, m, c = targets.shape[:3]
    index_pairs = list(combinations(range(c), 2))
    pairs = targets[:, :, index_pairs].reshape(n, m * len(index_pairs), 2, *targets.shape[3:])
    first = predict(history, pairs).reshape(n, m, len(index_pairs))
    scores = np.zeros((n, m, c))
    for i, (a, b) in enumerate(index_pairs):
        scores[..., a] += first[..., i]
        scores[..., b] += 1 - first[..., i]
    return scores


def ideal_scores(world: World, gallery: Gallery, trials: Trials, rng, after: int | None = None) -> np.ndarray:
    """Score with the ideal observer (see train.data.limits) after the first `after` pairs; None uses all pairs."""
    attributes = gallery.attributes
    history = attributes[trials.history[:, :after]]
    return scores_from_pairs(lambda h, t: ideal_observer(world, h, t, rng), history, attributes[trials.targets])


def attribute_scores(gallery: Gallery, trials: Trials, penalty: float, after: int | None = None) -> np.ndarray:
    """Score with a Bradley-Terry regression for each user on the true attributes of the history images."""
    attributes = gallery.attributes
    return scores_from_pairs(
        lambda h, t: bradley_terry(h, t, penalty), attributes[trials.history[:, :after]], attributes[trials.targets]
    )


def clip_scores(features: np.ndarray, trials: Trials, penalty: float) -> np.ndarray:
    """Score with a Bradley-Terry regression for each user on the CLIP embeddings (N, D) of the history images."""
    return scores_from_pairs(
        lambda h, t: feature_bradley_terry(h, t, penalty), features[trials.history], features[trials.targets]
    )


def feature_bradley_terry(history: np.ndarray, targets: np.ndarray, penalty: float) -> np.ndarray:
    """Predict P(first preferred) with a logistic regression on image features, fitted for each user.

    Args:
        history: Features (n, k, 2, D), the liked image first.
        targets: Features (n, m, 2, D).
        penalty: L2 penalty: penalty / 2 times the squared norm of the weights.

    Returns:
        Probabilities, (n, m).
    """
    history_differences, target_differences = (pairs[:, :, 0] - pairs[:, :, 1] for pairs in (history, targets))
    # As in `bradley_terry`: the weights lie in the span of the pairs, so only one unknown for each pair is fitted.
    slope = laplace(
        history_differences @ history_differences.transpose(0, 2, 1) / penalty, np.zeros(history_differences.shape[:2])
    ).slope
    weights = np.einsum("nkd,nk->nd", history_differences, slope) / penalty
    return sigmoid(np.einsum("nmd,nd->nm", target_differences, weights))


@torch.no_grad()
def clip_features(gallery: Gallery, tower: ImageTower | None = None) -> np.ndarray:
    """Compute normalised CLIP embeddings (N, D) of all posters; `tower` defaults to the pocket model's image tower."""
    tower = tower or load_image_tower(weights_path("clip_vision")).eval()
    return torch.cat([tower(batch).float() for batch in gallery.batches("CLIP embeddings")]).double().numpy()


@dataclass(frozen=True)
class Penalties:
    """The L2 penalties of the two regressions, chosen on validation users and posters."""

    attributes: float
    clip: float


def choose_penalties(world: World) -> Penalties:
    """Choose both penalties on the same validation users and validation posters."""
    rng = np.random.default_rng([RNG_STREAM, 0])
    gallery = draw_gallery(rng, VALIDATION_POSTERS, split="validation")
    utilities, _ = world.sample(VALIDATION_USERS, rng)
    trials = draw_trials(world, gallery, utilities, VALIDATION_TARGETS, rng)
    features = clip_features(gallery)

    def accuracy(penalty: float) -> float:
        return correct_choices(clip_scores(features, trials, penalty), trials.chosen).mean()

    attributes = gallery.attributes
    liked_first = np.take_along_axis(trials.targets, np.stack([trials.chosen, 1 - trials.chosen], axis=-1), axis=-1)
    return Penalties(
        choose_penalty(attributes[trials.history], attributes[liked_first]), max(CLIP_PENALTIES, key=accuracy)
    )
