"""Provides users for the probes: simulated users, or users from a dataset on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from prefgen.errors import HistoryError
from prefgen.history import PreferencePair
from prefgen.images import read_image
from train.data.agents import World, draw_pairs
from train.data.posters import Attributes, subject_prompt
from train.pocket.poster_batches import draw_all
from train.prefdisc.dataset import read_users

Pairs = list[PreferencePair]


def simulated_users(count: int, pairs: int, seed: int) -> list[Pairs]:
    """Sample agents that are not training users, with pairs of drawn posters."""
    rng = np.random.default_rng([seed, 71])
    world = World.load()
    utilities, _ = world.sample(count, rng)
    users = []
    for attributes in draw_pairs(world, utilities, pairs, rng):
        images = draw_all(attributes.reshape(-1, 6), rng).unflatten(0, (pairs, 2))
        prompts = [subject_prompt(Attributes.from_indices(pair[0])) for pair in attributes]
        users.append([PreferencePair(*pair, prompt) for pair, prompt in zip(images, prompts, strict=True)])
    return users


def read_probe_users(folder: Path, split: str, count: int, pairs: int) -> list[Pairs]:
    """Read the first `pairs` pairs of up to `count` users of a split. Users with fewer pairs are skipped.

    Raises:
        HistoryError: Fewer than two users have enough pairs.
    """
    users = read_users(folder, split, at_least=pairs)[:count]
    if len(users) < 2:
        raise HistoryError(f"{folder} has 1 user with at least {pairs} pairs in split {split!r}; expected at least 2.")
    return [
        [PreferencePair(read_image(p.liked), read_image(p.disliked), p.prompt) for p in user.pairs[:pairs]]
        for user in users
    ]
