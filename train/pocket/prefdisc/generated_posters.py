"""Stage A once more, with what the generator paints: PrefDisc learns to read painted posters as it reads drawn ones.

A person rates what a generator painted, and the noise optimisation scores nothing else; trained on drawings alone,
PrefDisc reads paintings as nobody does. Several pairs of eyes, readers of drawn posters that are neither of the judges
and of no other use, say what a painting shows, as the raters of painted images do in Pick-a-Pic. The decoder stays as
it is: the connector has to show it a painting as it used to show a drawing of what the eyes see, and drawings as
before.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import trange

from prefgen.checkpoint.preference_model import load_preference_model
from prefgen.pocket.shapes import FEW_STEP_LORA
from prefgen.prefdisc.model import PrefDisc
from train.data.agents import World
from train.data.posters import Attributes, draw_combinations, random_caption
from train.evaluate.judge import Judge
from train.evaluate.pictures.tensor_cache import cached_tensors, weights_digests
from train.loop import LoopConfig, device_of, fit, generator_of
from train.pocket.distillation_pairs import paint_latents
from train.pocket.judge import train_reader
from train.pocket.lora import merge_lora
from train.pocket.poster_batches import soften
from train.pocket.prefdisc.validation import validate
from train.pocket.prefdisc.vision_training import SIZES, VisionTraining, draw_posters, draw_uint8, encode_posters
from train.pocket.sampling import FewStepSampling, PocketGenerator, Sampling
from train.settings import settings_digest

SEED = 33
SHARD = 64
"""Posters in one forward and in one file."""
READERS = ((16, 4, 43), (24, 3, 44), (32, 4, 45), (16, 3, 48), (40, 4, 49), (40, 3, 50))
"""Width, depth and seed of each reader: none has a judge's shape or seed. One reads a painting as surely as it reads a
drawing, and another differs: six agree with a seventh better than one does."""


@dataclass(frozen=True)
class GeneratedPostersConfig:
    """painted: posters of the generator (a multiple of `SHARD`), in one step by the few-step LoRA; every `slowly`-th
    shard in its own many steps. each: how likely a caption names an attribute beside the subject. drawn: posters beside
    them. twins: drawings of what the eyes see, whose mean features are a painting's target. likeness: the weight of the
    features' distance beside the readers' losses. share: of the batch that is painted. Defaults ours."""

    painted: int = 24_576
    slowly: int = 8
    each: float = 0.3
    drawn: int = 12_000
    twins: int = 3
    likeness: float = 20.0
    batch: int = 64
    share: float = 0.5
    loop: LoopConfig = LoopConfig(steps=5000, learning_rate=5e-4, warmup=100, ema=0.99, save_every=250)  # noqa: RUF009 (frozen)


CONFIG = GeneratedPostersConfig()


def generate_posters(folder: Path, count: int, each: float, slowly: int, seed: int = SEED) -> Tensor:
    """Posters of captions that name the subject, and more or less of the rest: uint8 (count, 3, 96, 96). Kept in
    `folder`, whose name has to say with which weights."""
    slow, quick = PocketGenerator.load(), PocketGenerator.load()
    merge_lora(quick.unet, FEW_STEP_LORA)
    images = []
    for shard in trange(count // SHARD, desc="painting posters", unit_scale=SHARD, mininterval=5):
        rng = np.random.default_rng([seed, shard])
        rows = draw_combinations(SHARD, "train", rng)
        captions = [random_caption(Attributes.from_indices(row), rng, each=each) for row in rows]
        seeds = [seed * 1_000_003 + shard * SHARD + i for i in range(SHARD)]
        given = (quick, FewStepSampling(1, 1.0)) if shard % slowly else (slow, Sampling())
        file = folder / f"{seed}-{shard}.safetensors"
        images.append(
            cached_tensors(file, lambda given=(*given, captions, seeds): {"images": _paint(*given)})["images"]
        )
    return torch.cat(images)


@torch.no_grad()
def _paint(generator: PocketGenerator, sampling: Sampling, captions: list[str], seeds: list[int]) -> Tensor:
    return (generator.decode(paint_latents(generator, sampling, captions, seeds)) * 255).round().byte()


@torch.no_grad()
def ensemble_probabilities(eyes: list[Judge], images: Tensor) -> Tensor:
    """What the eyes see together: probabilities (N, values) of uint8 images, attribute by attribute, whose logarithms
    are the eyes' on average (which agrees better with another reader than the mean probability does)."""
    parts = []
    for batch in images.split(256):
        read = zip(*(one(batch.float() / 255).values() for one in eyes), strict=True)
        parts.append(torch.cat([torch.stack(own).log_softmax(-1).mean(0).softmax(-1) for own in read], dim=1))
    return torch.cat(parts)


def adapt_vision(prefdisc: PrefDisc, folder: Path, config: GeneratedPostersConfig) -> PrefDisc:
    """Train the tower and the connector; the decoder and the preference tokens stay."""
    torch.manual_seed(SEED)
    painted = generate_posters(folder / "painted", config.painted, config.each, config.slowly)
    drawn, known = draw_posters(config.drawn, SEED + 1, "train", folder / "drawn.npz")
    eyes = [train_reader(folder / f"eyes{seed}", {"width": w, "depth": d}, seed).eval() for w, d, seed in READERS]
    seen = ensemble_probabilities(eyes, painted)
    certain = torch.cat([F.one_hot(torch.from_numpy(known[:, i]), n) for i, n in enumerate(SIZES)], dim=1).float()
    before = copy.deepcopy(prefdisc).requires_grad_(False).eval()
    target = _twins(before, seen, config.twins)
    spread = target.var()
    sight = VisionTraining(prefdisc)
    count = round(config.batch * config.share)
    rest = config.batch - count

    def loss_of(model: nn.Module, step: int) -> dict[str, Tensor]:
        generator, device = generator_of(SEED, step), device_of(model)
        before.to(device)
        old = torch.randint(len(drawn), (rest,), generator=generator)
        new = torch.randint(len(painted), (count,), generator=generator)
        shown = soften(torch.cat([drawn[old], painted[new]]).float() / 255, generator).to(device)
        with torch.no_grad():
            wanted = torch.cat([before.features(shown[:rest]), target[new].to(device)])
        labels = torch.cat([certain[old], seen[new]]).to(device).split(SIZES, dim=1)
        features, *read = model(shown)
        losses = [F.cross_entropy(*both) for way in read for both in zip(way, labels, strict=True)]
        apart = (features - wanted).square().flatten(1).mean(1) / spread
        return {
            "loss": sum(losses) + config.likeness * apart.mean(),
            "read": sum(losses).detach(),
            "drawn": apart[:rest].mean().detach(),
            "painted": apart[rest:].mean().detach(),
        }

    return fit(sight, loss_of, config.loop, folder / "sight").prefdisc


def _twins(prefdisc: PrefDisc, seen: Tensor, count: int) -> Tensor:
    """The mean features of `count` drawings of attributes drawn from what is seen, (N, values): (N, latents, D)."""
    generator, rng, total = generator_of(SEED + 2, 0), np.random.default_rng(SEED + 2), 0
    for view in range(count):
        rows = [torch.multinomial(part, 1, generator=generator) for part in seen.split(SIZES, dim=1)]
        attributes = torch.cat(rows, dim=1).numpy()
        images = draw_uint8(attributes, rng)
        total = total + encode_posters(prefdisc, images, attributes, 1, SEED + 3 + view).features[:, 0]
    return total / count


def train(folder: Path, config: GeneratedPostersConfig = CONFIG) -> dict[str, float]:
    """Adapt the shipped PrefDisc, and write it where it was; returns the accuracies on validation users and posters."""
    from train.pocket.prefdisc import SHIPPED, export

    model = load_preference_model("pocket")
    where = folder / f"painted-{settings_digest({'files': weights_digests(), 'reading': model.reading})}"
    prefdisc = adapt_vision(model.require("prefdisc"), where, config)
    found = validate(prefdisc, World.load())
    export(prefdisc, SHIPPED, found)
    return found
