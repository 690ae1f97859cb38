"""What PrefDisc is read against: limits that know the simulator, a regression on CLIP features, and no user at all.

Every method gives scores of a user's targets, (n, m, c), of which only the order within a set counts.
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
from train.evaluate.ranking import right
from train.evaluate.trials import STREAM, Gallery, Trials, draw_gallery, draw_trials

VALIDATION_USERS, VALIDATION_TARGETS, VALIDATION_POSTERS = 1000, 8, 40
"""What penalties are chosen on: users, target pairs of each, posters of a subject (default ours)."""
CLIP_PENALTIES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
"""A wide grid: how far apart embeddings lie says nothing about how much choices tell of them."""

Predict = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""(history, pairs) -> P(first preferred): (n, k, 2, ...), (n, m, 2, ...) -> (n, m)."""


def by_pairs(predict: Predict, history: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Scores of sets of any size by a method that knows pairs only: how many of the others an image is expected to
    beat. For a regression that is the order of its utilities; for the ideal observer nearly the best order.

    history (n, k, 2, ...) and targets (n, m, c, ...): whatever `predict` takes for an image -> (n, m, c).
    """
    n, m, c = targets.shape[:3]
    between = list(combinations(range(c), 2))
    pairs = targets[:, :, between].reshape(n, m * len(between), 2, *targets.shape[3:])
    first = predict(history, pairs).reshape(n, m, len(between))
    scores = np.zeros((n, m, c))
    for i, (a, b) in enumerate(between):
        scores[..., a] += first[..., i]
        scores[..., b] += 1 - first[..., i]
    return scores


def ideal_scores(world: World, gallery: Gallery, trials: Trials, rng, after: int | None = None) -> np.ndarray:
    """The ideal observer's (see train.data.limits), after the first `after` pairs; None: after all."""
    see = gallery.attributes
    history = see[trials.history[:, :after]]
    return by_pairs(lambda h, t: ideal_observer(world, h, t, rng), history, see[trials.targets])


def attribute_scores(gallery: Gallery, trials: Trials, penalty: float, after: int | None = None) -> np.ndarray:
    """Bradley-Terry regression of every user on the true attributes of the history's images."""
    see = gallery.attributes
    return by_pairs(lambda h, t: bradley_terry(h, t, penalty), see[trials.history[:, :after]], see[trials.targets])


def clip_scores(features: np.ndarray, trials: Trials, penalty: float) -> np.ndarray:
    """Bradley-Terry regression of every user on the CLIP embeddings (N, D) of the history's images."""
    return by_pairs(
        lambda h, t: feature_bradley_terry(h, t, penalty), features[trials.history], features[trials.targets]
    )


def feature_bradley_terry(history: np.ndarray, targets: np.ndarray, penalty: float) -> np.ndarray:
    """P(first preferred) by each user's own logistic regression on images' features.

    history (n, k, 2, D), liked first; targets (n, m, 2, D). penalty: L2, penalty / 2 x the squared norm of the weights.
    """
    seen, asked = (pairs[:, :, 0] - pairs[:, :, 1] for pairs in (history, targets))
    # As in `bradley_terry`: eight pairs span what D weights can be, so the fit is one of eight unknowns.
    slope = laplace(seen @ seen.transpose(0, 2, 1) / penalty, np.zeros(seen.shape[:2])).slope
    weights = np.einsum("nkd,nk->nd", seen, slope) / penalty
    return sigmoid(np.einsum("nmd,nd->nm", asked, weights))


@torch.no_grad()
def clip_features(gallery: Gallery, tower: ImageTower | None = None) -> np.ndarray:
    """CLIP embeddings of a gallery's posters, (N, D), of unit length; of the pocket's tower where none is given."""
    tower = tower or load_image_tower(weights_path("clip_vision")).eval()
    return torch.cat([tower(batch).float() for batch in gallery.batches("CLIP embeddings")]).double().numpy()


@dataclass(frozen=True)
class Penalties:
    """The L2 penalties of the two regressions, each the best for users and posters that are in no test."""

    attributes: float
    clip: float


def choose_penalties(world: World) -> Penalties:
    """Choose both on the same validation users, and posters of validation combinations."""
    rng = np.random.default_rng([STREAM, 0])
    gallery = draw_gallery(rng, VALIDATION_POSTERS, split="validation")
    utilities, _ = world.sample(VALIDATION_USERS, rng)
    trials = draw_trials(world, gallery, utilities, VALIDATION_TARGETS, rng)
    features = clip_features(gallery)

    def accuracy(penalty: float) -> float:
        return right(clip_scores(features, trials, penalty), trials.chosen).mean()

    see = gallery.attributes
    liked_first = np.take_along_axis(trials.targets, np.stack([trials.chosen, 1 - trials.chosen], axis=-1), axis=-1)
    return Penalties(choose_penalty(see[trials.history], see[liked_first]), max(CLIP_PENALTIES, key=accuracy))
