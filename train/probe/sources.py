"""Whom the probes are about: simulated users, or those of a set on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from prefgen.errors import HistoryError
from prefgen.history import PreferencePair
from prefgen.images import read_image
from train.data.agents import World, draw_pairs
from train.data.posters import Attributes, subject_prompt
from train.pocket.batches import draw_all
from train.prefdisc.dataset import read_users

Pairs = list[PreferencePair]


def agents(count: int, pairs: int, seed: int) -> list[Pairs]:
    """Agents of the world with drawn posters; none of them is a training user."""
    rng = np.random.default_rng([seed, 71])
    world = World.load()
    utilities, _ = world.sample(count, rng)
    users = []
    for own in draw_pairs(world, utilities, pairs, rng):
        images = draw_all(own.reshape(-1, 6), rng).unflatten(0, (pairs, 2))
        prompts = [subject_prompt(Attributes.from_indices(two[0])) for two in own]
        users.append([PreferencePair(*two, prompt) for two, prompt in zip(images, prompts, strict=True)])
    return users


def from_set(folder: Path, split: str, count: int, pairs: int) -> list[Pairs]:
    """The first `count` users of a split with `pairs` pairs, so many of each. Raises HistoryError for too few."""
    found = read_users(folder, split, at_least=pairs)[:count]
    if len(found) < 2:
        raise HistoryError(f"{folder} has one user with {pairs} pairs in {split!r}, expected 2 at least to tell apart.")
    return [
        [PreferencePair(read_image(p.liked), read_image(p.disliked), p.prompt) for p in user.pairs[:pairs]]
        for user in found
    ]
