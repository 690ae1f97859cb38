"""Samples the users and posters of an evaluation: for each seed, new posters, unseen users and training users."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from train.data.agents import World, training_users
from train.evaluate.choice_trials import RNG_STREAM, Gallery, draw_gallery


@dataclass(frozen=True)
class SeedSample:
    """Users and posters of one seed.

    Attributes:
        seed: The seed.
        gallery: Posters to choose from.
        unseen: Utilities (n, 24) of users that were not part of the training.
        groups: Simulator group of each unseen user, (n,).
        seen: Utilities (n, 24) of training users.
        rng: Generator for everything else that is drawn for this seed.
    """

    seed: int
    gallery: Gallery
    unseen: np.ndarray
    groups: np.ndarray
    seen: np.ndarray
    rng: np.random.Generator


def sample_seeds(world: World, users: int, seeds: list[int], per_subject: int | None = None) -> Iterator[SeedSample]:
    """Yield one sample for each seed.

    Args:
        world: The simulator.
        users: Number of unseen users over all seeds, and of seen users. No seen user is sampled twice.
        seeds: Seeds.
        per_subject: Posters of each subject. None uses every test combination once.
    """
    pool = training_users(world)
    shares = np.array_split(np.random.default_rng([RNG_STREAM, 1, *seeds]).permutation(len(pool))[:users], len(seeds))
    for seed, share in zip(seeds, shares, strict=True):
        rng = np.random.default_rng([RNG_STREAM, 2, seed])
        gallery = draw_gallery(rng, per_subject)
        unseen, groups = world.sample(len(share), rng)
        yield SeedSample(seed, gallery, unseen, groups, pool[share], rng)
