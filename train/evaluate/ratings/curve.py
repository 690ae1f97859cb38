"""Measures the accuracy by number of ratings, in cross-validation over people."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from .population import BINARY, GRADED, Population, Targets, learn_items, learn_population
from .tables import RatingsTable

METHODS = ("population prior", "mean taste as mean function", "no population")
MEAN_TASTE = "mean taste"


@dataclass(frozen=True)
class CurveConfig:
    """Settings of the evaluation.

    Attributes:
        counts: Numbers of ratings from which the head learns.
        held_out: Number of each person's ratings that are predicted.
        folds: Number of folds over people.
        seed: Seed of the folds, the held-out ratings and the order of the others.
        rating_counts: Candidates for the number of likes that a graded rating counts as. Each fold chooses one on a
            fifth of its training people.
        choice_count: Number of ratings at which the candidates are compared, or fewer if half of the people have fewer.
    """

    counts: tuple[int, ...] = (5, 10, 20, 40, 80, 160)
    held_out: int = 65
    folds: int = 5
    seed: int = 0
    rating_counts: tuple[float, ...] = (1.0, 2.0, 3.0, 4.0)
    choice_count: int = 40


def pairwise_accuracy(scores: np.ndarray, ratings: np.ndarray) -> float:
    """Return the share of pairs of items whose order is predicted correctly.

    Pairs with equal ratings are left out; pairs with equal scores count half. NaN if all ratings are equal.

    Args:
        scores: Predictions, (n,).
        ratings: One person's ratings, (n,).
    """
    higher = ratings[:, None] > ratings
    differences = scores[:, None] - scores
    correct = (differences > 0) + 0.5 * (differences == 0)
    return float(correct[higher].mean()) if higher.any() else np.nan


def measure_curves(
    table: RatingsTable, config: CurveConfig, report: Callable[[str], object]
) -> dict[str, dict[str, np.ndarray]]:
    """Return accuracies for graded and binary ratings.

    Returns:
        For each kind and method, accuracies (people, counts). NaN where a person has too few ratings.
    """
    people = np.random.default_rng(config.seed).permutation(len(table.ratings))
    low, high = np.nanmin(table.ratings), np.nanmax(table.ratings)
    shape = len(people), len(config.counts)
    curves = {kind: {name: np.full(shape, np.nan) for name in (MEAN_TASTE, *METHODS)} for kind in (GRADED, BINARY)}
    for fold, test in enumerate(np.array_split(people, config.folds)):
        training = np.setdiff1d(people, test)
        items = learn_items(table.ratings[training], table.features)
        for kind in curves:
            targets = Targets(kind, low, high)
            if kind == GRADED:
                targets = choose_rating_count(table, training, targets, config)
            population = learn_population(table.ratings[training], items, targets)
            for person in test:
                for name, accuracies in measure_person(population, table.ratings[person], person, config).items():
                    curves[kind][name][person] = accuracies
            report(f"fold {fold + 1} of {config.folds}, {kind} ratings, count {targets.count:g}")
    return curves


def choose_rating_count(table: RatingsTable, training: np.ndarray, targets: Targets, config: CurveConfig) -> Targets:
    """Choose the number of likes that a graded rating counts as, on a fifth of the training people."""
    rng = np.random.default_rng([config.seed, *training[:4]])
    validation = rng.choice(training, len(training) // 5, replace=False)
    others = np.setdiff1d(training, validation)
    items = learn_items(table.ratings[others], table.features)
    available = int(np.median(np.isfinite(table.ratings[training]).sum(1))) - config.held_out
    choice_count = max(1, min(config.choice_count, available))
    choice = CurveConfig(counts=(choice_count,), held_out=config.held_out, seed=config.seed)

    def accuracy(candidate: float) -> float:
        chosen = Targets(targets.kind, targets.low, targets.high, candidate)
        population = learn_population(table.ratings[others], items, chosen)
        rows = [measure_person(population, table.ratings[person], person, choice, METHODS[:1]) for person in validation]
        return float(np.nanmean([row[METHODS[0]] for row in rows]))

    best = max(config.rating_counts, key=accuracy)
    return Targets(targets.kind, targets.low, targets.high, best)


def measure_person(
    population: Population,
    ratings: np.ndarray,
    person: int,
    config: CurveConfig,
    methods: tuple[str, ...] = METHODS,
) -> dict[str, list[float]]:
    """Return the accuracy of one person's held-out ratings by method, for each number of ratings."""
    items = np.random.default_rng([config.seed, person]).permutation(np.flatnonzero(np.isfinite(ratings)))
    held_out, known = items[: config.held_out], items[config.held_out :]
    features = torch.from_numpy(population.items.features[held_out])
    mean_logits = torch.from_numpy(population.mean_logits()[held_out])
    accuracies: dict[str, list[float]] = {name: [] for name in (MEAN_TASTE, *methods)}
    for count in config.counts:
        enough = count <= len(known)
        baseline = pairwise_accuracy(population.items.mean_taste[held_out], ratings[held_out]) if enough else np.nan
        accuracies[MEAN_TASTE].append(baseline)
        for method in methods:
            head = population.fit(known[:count], ratings[known[:count]], method) if enough else None
            if head is None:
                accuracies[method].append(baseline)
                continue
            scores = head.logits(features, mean_logits if "mean function" in method else 0.0)
            accuracies[method].append(pairwise_accuracy(scores.numpy(), ratings[held_out]))
    return accuracies
