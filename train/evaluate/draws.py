"""Who is asked, and about what: for every seed new posters, unseen users, and users of the training."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from train.data.agents import World, training_users
from train.evaluate.trials import STREAM, Gallery, draw_gallery


@dataclass(frozen=True)
class Draw:
    """One seed's share. unseen, seen: utilities (n, 24) of users that no training had, and of some that it had.
    groups (n,): the simulator's group of each unseen user."""

    seed: int
    gallery: Gallery
    unseen: np.ndarray
    groups: np.ndarray
    seen: np.ndarray
    rng: np.random.Generator


def draws(world: World, users: int, seeds: list[int], each: int | None = None) -> Iterator[Draw]:
    """Split `users` unseen and as many seen users over the seeds. each: posters of a subject; None: every test
    combination once. No seen user comes twice in one call."""
    pool = training_users(world)
    shares = np.array_split(np.random.default_rng([STREAM, 1, *seeds]).permutation(len(pool))[:users], len(seeds))
    for seed, share in zip(seeds, shares, strict=True):
        rng = np.random.default_rng([STREAM, 2, seed])
        gallery = draw_gallery(rng, each)
        unseen, groups = world.sample(len(share), rng)
        yield Draw(seed, gallery, unseen, groups, pool[share], rng)
