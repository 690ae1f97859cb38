"""The eyes once more, with what the noise optimisation reaches: pictures on which PrefDisc was led astray.

An optimiser finds the pictures that a score reads wrong, and whoever learned from random pictures alone has seen none
of them. Here the noise is optimised for users of the training with PrefDisc as it is, and it learns what the three
eyes of `painted` see in what came of it, beside fresh paintings and drawings: as reward models are brought up to date
with their policy's own samples (Gao et al. 2023 on over-optimisation; the recipe is ours).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import trange

from prefgen.pocket.shapes import FEW_STEP_LORA
from prefgen.prefdisc.model import PrefDisc
from prefgen.preference import load_preference_model
from prefgen.reno import RenoConfig, RenoStep, optimise
from prefgen.rewards import PreferenceReward, SeveralViews
from train.data.agents import World, draw_pairs
from train.data.posters import Attributes, Wordings, draw_combinations, random_caption
from train.evaluate.pictures.kept import kept, key_of, weights_digests
from train.evaluate.reno.rewards import EachAgent
from train.loop import LoopConfig
from train.pocket.encoded import PAIRS, draw_history
from train.pocket.lora import merge_lora
from train.pocket.prefdisc.accuracy import validate
from train.pocket.prefdisc.painted import PaintedConfig, adapt_sight, paint_posters
from train.pocket.sampling import FewSteps, PocketGenerator, seed_noise

SEED = 36
USERS, EACH = 4, 4
"""Users in one forward and in one file, and pictures of each."""


@dataclass(frozen=True)
class ClimbedConfig:
    """climbed: optimised noises (a multiple of `USERS` x `EACH`). keep: the iterations whose pictures are taken; the
    last ends the optimisation. views: of each picture, as the evaluation has them. reno: larger steps than the
    evaluation's, to get as far in fewer. wordings: of the prompts. each: how likely one names an attribute beside the
    subject. painted: the training, with random paintings beside. Defaults ours."""

    climbed: int = 1024
    keep: tuple[int, ...] = (4, 10)
    views: int = 4
    reno: RenoConfig = RenoConfig(learning_rate=30.0)  # noqa: RUF009 (frozen)
    wordings: Wordings = Wordings()  # noqa: RUF009 (frozen)
    each: float = 0.1
    painted: PaintedConfig = PaintedConfig(  # noqa: RUF009 (frozen)
        share=0.5,
        loop=LoopConfig(steps=3000, learning_rate=4e-4, warmup=100, ema=0.99, save_every=250),
    )


CONFIG = ClimbedConfig()


def climb_posters(prefdisc: PrefDisc, folder: Path, config: ClimbedConfig = CONFIG) -> Tensor:
    """What the noise optimisation makes for users of the training, on the way and at its end: uint8 (climbed x keep, 3,
    96, 96). Kept in `folder`, whose name has to say with which weights."""
    world, generator, images = World.load(), PocketGenerator.load(), []
    merge_lora(generator.unet, FEW_STEP_LORA)
    for shard in trange(config.climbed // (USERS * EACH), desc="climbing", unit_scale=USERS * EACH, mininterval=5):
        file = folder / f"{SEED}-{shard}.safetensors"
        images.append(kept(file, lambda s=shard: {"images": _climb(prefdisc, generator, world, s, config)})["images"])
    return torch.cat(images)


def _climb(prefdisc: PrefDisc, generator: PocketGenerator, world: World, shard: int, config: ClimbedConfig) -> Tensor:
    rng = np.random.default_rng([SEED, shard])
    utilities, _ = world.sample(USERS, rng)
    histories = [draw_history(pairs, rng, "a user") for pairs in draw_pairs(world, utilities, PAIRS, rng)]
    rows = draw_combinations(USERS * EACH, "train", rng)[rng.permutation(USERS * EACH)]
    captions = [random_caption(Attributes.from_indices(row), rng, each=config.each) for row in rows]
    prompts = [config.wordings.of(caption, rng) for caption in captions]
    with torch.no_grad():
        prefixes = [prefdisc.encode(history) for history in histories]
    asked = [prompts[i * EACH : (i + 1) * EACH] for i in range(USERS)]
    own = [PreferenceReward(prefdisc, *both) for both in zip(prefixes, asked, strict=True)]
    seeds = [SEED * 1_000_003 + shard * USERS * EACH + i for i in range(USERS * EACH)]
    found: list[Tensor] = []

    def keep(step: RenoStep) -> None:
        if step.index in config.keep:
            found.append((step.images * 255).round().clamp(0, 255).byte().cpu())

    optimise(
        seed_noise(seeds),
        generator.painter(prompts, FewSteps(1)),
        SeveralViews(EachAgent(own, EACH), config.views),
        replace(config.reno, iterations=max(config.keep) + 1),
        keep,
    )
    return torch.cat(found)


def train(folder: Path, config: ClimbedConfig = CONFIG) -> dict[str, float]:
    """Adapt the shipped PrefDisc, and write it where it was; returns the accuracies on validation users and posters."""
    from train.pocket.prefdisc import SHIPPED, export

    model = load_preference_model("pocket")
    where = folder / f"climbed-{key_of({'files': weights_digests(), 'reading': model.reading})}"
    prefdisc, painted = model.require("prefdisc"), config.painted
    shown = [
        paint_posters(where / "painted", painted.painted, painted.each, SEED),
        climb_posters(prefdisc, where / "climbed", config),
    ]
    prefdisc = adapt_sight(prefdisc, torch.cat(shown), where, painted)
    found = validate(prefdisc, World.load())
    export(prefdisc, SHIPPED, found)
    return found
