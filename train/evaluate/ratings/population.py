"""Learns the features of items, the mean taste, and the prior of the taste head from training people."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from prefgen.taste import FeatureScaling, Observations, TasteHead, TastePrior, fit_taste
from prefgen.taste.laplace import LogisticTargets
from train.taste.item_factors import fit_item_factors
from train.taste.population_prior import fit_population_prior

GRADED, BINARY = "graded", "binary"
RANK = 15
"""Number of item factors (METHOD: 15 factors of other people's ratings)."""


@dataclass(frozen=True)
class Targets:
    """Conversion of ratings to targets of the logistic likelihood.

    Attributes:
        kind: GRADED maps the rating scale to 0..1. BINARY is whether a rating is above the median of the person's own
            ratings; ratings at the median are left out.
        low, high: Ends of the rating scale.
        count: Number of likes and dislikes that a graded rating counts as.
    """

    kind: str
    low: float
    high: float
    count: float = 1.0

    def of(self, ratings: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the indices of the ratings that are used, their targets and their weights."""
        if self.kind == GRADED:
            targets = (ratings - self.low) / (self.high - self.low)
            return np.arange(len(ratings)), targets, np.full(len(ratings), self.count)
        median = np.median(ratings)
        chosen = np.flatnonzero(ratings != median)
        return chosen, (ratings[chosen] > median).astype(float), np.ones(len(chosen))


@dataclass(frozen=True)
class Items:
    """Features of the items, learned from training people's ratings.

    Attributes:
        mean_taste: Mean rating of each item, (items,).
        features: Mean taste and features of each item, with mean 0 and a mean squared length of 1, (items, D).
    """

    mean_taste: np.ndarray
    features: np.ndarray

    @property
    def scaling(self) -> FeatureScaling:
        """Identity scaling, because the features are scaled already."""
        return FeatureScaling(torch.zeros(self.features.shape[1]), 1.0, unit_length=False)


@dataclass(frozen=True)
class Population:
    """The taste of training people.

    Attributes:
        items: The items.
        prior: Prior of the taste head.
        targets: Conversion of ratings to targets.
    """

    items: Items
    prior: TastePrior
    targets: Targets

    def mean_logits(self) -> np.ndarray:
        """Return each item's logit for a person with the population's mean weights, (items,)."""
        weights = self.prior.mean.numpy()
        return self.items.features @ weights[:-1] + weights[-1]

    def fit(self, items: np.ndarray, ratings: np.ndarray, method: str) -> TasteHead | None:
        """Fit the head to one person's ratings.

        Args:
            items: The rated items, (n,).
            ratings: Their ratings, (n,).
            method: "population prior"; "mean taste as mean function", which has an isotropic prior around the
                population's mean weights; or "no population", an isotropic prior around 0.

        Returns:
            The head, or None if no rating can be used.
        """
        chosen, targets, weights = self.targets.of(ratings)
        if not len(chosen):
            return None
        features = torch.from_numpy(self.items.features[items[chosen]])
        observations = Observations.from_singles(torch.from_numpy(targets), torch.from_numpy(weights))
        prior = self.prior if method == "population prior" else None
        offsets = torch.from_numpy(self.mean_logits()[items[chosen]]) if "mean function" in method else None
        return fit_taste(features, observations, prior, self.items.scaling, offsets)


def learn_items(ratings: np.ndarray, item_features: np.ndarray | None, rank: int = RANK) -> Items:
    """Learn the mean taste and the features of the items from training people.

    Args:
        ratings: Their ratings, (people, items), NaN where missing.
        item_features: Features of the items; None learns factors from the ratings.
        rank: Number of factors.
    """
    factors = fit_item_factors(ratings, rank)
    features = factors.factors if item_features is None else item_features
    columns = np.c_[_standardized(factors.means[:, None]), _standardized(features)]
    return Items(factors.means, columns / columns.shape[1] ** 0.5)


def learn_population(ratings: np.ndarray, items: Items, targets: Targets) -> Population:
    """Learn the prior of the taste head from training people's ratings, (people, items)."""
    return Population(items, fit_population_prior(*_stack(ratings, targets, items.features)), targets)


def _standardized(features: np.ndarray) -> np.ndarray:
    """Center features, and divide them by one number, so that the mean of their squares is 1."""
    centered = features - features.mean(0)
    return centered / np.sqrt((centered**2).mean())


def _stack(ratings: np.ndarray, targets: Targets, features: np.ndarray) -> tuple[torch.Tensor, LogisticTargets]:
    """Return the observations of all people, padded with rows of weight 0."""
    length = int(np.isfinite(ratings).sum(1).max())
    rows = np.zeros((len(ratings), length, features.shape[1] + 1))
    values, weights = np.zeros((2, len(ratings), length))
    for person, row in enumerate(ratings):
        items = np.flatnonzero(np.isfinite(row))
        chosen, person_targets, person_weights = targets.of(row[items])
        rows[person, : len(chosen)] = np.c_[features[items[chosen]], np.ones(len(chosen))]
        values[person, : len(chosen)], weights[person, : len(chosen)] = person_targets, person_weights
    values, weights = torch.from_numpy(values), torch.from_numpy(weights)
    return torch.from_numpy(rows), LogisticTargets(torch.zeros_like(values), values, weights)
