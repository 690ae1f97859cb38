"""The agents of a command: unseen ones for the test, others, with posters and prompts of their own, for choosing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from train.data.agents import World
from train.evaluate.command import Options
from train.evaluate.draws import draws
from train.evaluate.pictures.agents import Agents, draw_agents
from train.evaluate.pictures.eyes import PocketEyes
from train.evaluate.trials import STREAM, Gallery, draw_gallery
from train.pocket.people import FOR_CHOOSING

DRAWN = 200
"""Posters of a seed, about, that the unit of styles is taken of."""


def unseen_agents(options: Options) -> tuple[Agents, PocketEyes]:
    """The agents of all seeds, and eyes whose styles are in units of the seeds' drawn posters."""
    world, model, parts, posters = World.load(), options.model(), [], []
    for place in draws(world, options.users, options.seeds, options.posters):
        first = 10_000 * (1 + place.seed)
        parts.append(draw_agents(model, world, place.gallery, place.unseen, place.groups, place.rng, first_seed=first))
        posters.append(unit_posters(place.gallery))
    return Agents.joined(parts), PocketEyes(torch.cat(posters))


def validation_agents(options: Options, asked: Sequence[str] = FOR_CHOOSING) -> tuple[Agents, PocketEyes]:
    """Agents and posters of validation combinations, from streams of their own. asked: the subjects of the prompts."""
    world, model, parts, posters = World.load(), options.model(), [], []
    for seed, share in zip(options.seeds, np.array_split(np.arange(options.users), len(options.seeds)), strict=True):
        rng = np.random.default_rng([STREAM, 8, seed])
        gallery = draw_gallery(rng, options.posters, "validation")
        utilities, groups = world.sample(len(share), rng)
        first = 1_000_000 + 10_000 * seed
        parts.append(draw_agents(model, world, gallery, utilities, groups, rng, asked, first))
        posters.append(unit_posters(gallery))
    return Agents.joined(parts), PocketEyes(torch.cat(posters))


def unit_posters(gallery: Gallery) -> Tensor:
    """About `DRAWN` of a gallery's posters, evenly spread over its subjects: uint8 (n, 3, 96, 96)."""
    return gallery.images[:: max(1, len(gallery.images) // DRAWN)]
