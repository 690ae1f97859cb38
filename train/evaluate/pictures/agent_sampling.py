"""Samples the agents of a command: unseen agents for the test, and validation agents for choosing settings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from train.data.agents import World
from train.evaluate.choice_trials import RNG_STREAM, Gallery, draw_gallery
from train.evaluate.command import Options
from train.evaluate.pictures.agents import Agents, draw_agents
from train.evaluate.pictures.image_features import PocketFeatures
from train.evaluate.seed_samples import sample_seeds
from train.pocket.people import VALIDATION_SUBJECTS

STYLE_POSTERS = 200
"""Approximate number of posters of each seed from which style features are standardised."""


def unseen_agents(options: Options) -> tuple[Agents, PocketFeatures]:
    """Sample the unseen agents of all seeds, and standardise the style features on the posters of the same seeds."""
    world, model, agents, posters = World.load(), options.model(), [], []
    for sample in sample_seeds(world, options.users, options.seeds, options.posters):
        first = 10_000 * (1 + sample.seed)
        agents.append(
            draw_agents(model, world, sample.gallery, sample.unseen, sample.groups, sample.rng, first_seed=first)
        )
        posters.append(style_posters(sample.gallery))
    return Agents.concatenate(agents), PocketFeatures(torch.cat(posters))


def validation_agents(
    options: Options, prompt_subjects: Sequence[str] = VALIDATION_SUBJECTS
) -> tuple[Agents, PocketFeatures]:
    """Sample agents with posters of validation combinations, from other random streams than the test."""
    world, model, agents, posters = World.load(), options.model(), [], []
    for seed, share in zip(options.seeds, np.array_split(np.arange(options.users), len(options.seeds)), strict=True):
        rng = np.random.default_rng([RNG_STREAM, 8, seed])
        gallery = draw_gallery(rng, options.posters, "validation")
        utilities, groups = world.sample(len(share), rng)
        first = 1_000_000 + 10_000 * seed
        agents.append(draw_agents(model, world, gallery, utilities, groups, rng, prompt_subjects, first))
        posters.append(style_posters(gallery))
    return Agents.concatenate(agents), PocketFeatures(torch.cat(posters))


def style_posters(gallery: Gallery) -> Tensor:
    """Return about `STYLE_POSTERS` posters, spread evenly over the subjects: uint8, (n, 3, 96, 96)."""
    return gallery.images[:: max(1, len(gallery.images) // STYLE_POSTERS)]
