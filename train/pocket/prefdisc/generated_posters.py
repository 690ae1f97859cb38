"""Continues stage A with generated posters, so that PrefDisc encodes generated images like drawn ones.

Users rate generated images, and the noise optimisation scores only generated images. A PrefDisc that is trained only on
drawings is inaccurate on generated images. Here an ensemble of attribute classifiers labels the generated images, as
raters do in Pick-a-Pic. The classifiers are trained on drawings, are different from the judges, and have no other use.
The decoder is frozen. For a generated image, the connector learns to output the features of drawings with the labelled
attributes. The features of drawings stay the same.
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
"""Number of posters in one batch and one file."""
READERS = ((16, 4, 43), (24, 3, 44), (32, 4, 45), (16, 3, 48), (40, 4, 49), (40, 3, 50))
"""Width, depth and seed of each classifier. No classifier has the shape or the seed of a judge. Single classifiers are
overconfident on generated images and disagree. An ensemble of six agrees with a seventh classifier better than a single
classifier does."""


@dataclass(frozen=True)
class GeneratedPostersConfig:
    """Settings of the training. The defaults are our choice.

    Attributes:
        painted: Number of generated posters, a multiple of `SHARD`. Most are generated in one step with the few-step
            LoRA.
        slowly: Every `slowly`-th shard is generated with the usual number of steps instead.
        each: Probability with which a caption names each attribute other than the subject.
        drawn: Number of drawn posters.
        twins: Number of drawings with the labelled attributes. The mean of their features is the target for an image.
        likeness: Weight of the distance between features, relative to the classification losses.
        batch: Number of posters per step.
        share: Share of generated posters in a batch.
        loop: Length and optimiser.
    """

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
    """Generate posters as uint8 (count, 3, 96, 96). Captions name the subject and some other attributes.

    The images are cached in `folder`, whose name must identify the generator's weights.
    """
    slow, quick = PocketGenerator.load(), PocketGenerator.load()
    merge_lora(quick.unet, FEW_STEP_LORA)
    images = []
    for shard in trange(count // SHARD, desc="painting posters", unit_scale=SHARD, mininterval=5):
        rng = np.random.default_rng([seed, shard])
        rows = draw_combinations(SHARD, "train", rng)
        captions = [random_caption(Attributes.from_indices(row), rng, each=each) for row in rows]
        seeds = [seed * 1_000_003 + shard * SHARD + i for i in range(SHARD)]
        generator = (quick, FewStepSampling(1, 1.0)) if shard % slowly else (slow, Sampling())
        arguments = (*generator, captions, seeds)
        file = folder / f"{seed}-{shard}.safetensors"
        images.append(cached_tensors(file, lambda arguments=arguments: {"images": _paint(*arguments)})["images"])
    return torch.cat(images)


@torch.no_grad()
def _paint(generator: PocketGenerator, sampling: Sampling, captions: list[str], seeds: list[int]) -> Tensor:
    return (generator.decode(paint_latents(generator, sampling, captions, seeds)) * 255).round().byte()


@torch.no_grad()
def ensemble_probabilities(readers: list[Judge], images: Tensor) -> Tensor:
    """Return the ensemble's probabilities (N, values) for uint8 images.

    The ensemble averages log-probabilities. They agree with a separate classifier better than averaged probabilities.
    """
    parts = []
    for batch in images.split(256):
        read = zip(*(one(batch.float() / 255).values() for one in readers), strict=True)
        parts.append(torch.cat([torch.stack(own).log_softmax(-1).mean(0).softmax(-1) for own in read], dim=1))
    return torch.cat(parts)


def adapt_vision(prefdisc: PrefDisc, folder: Path, config: GeneratedPostersConfig) -> PrefDisc:
    """Train the vision tower and the connector. The decoder and the preference tokens stay frozen."""
    torch.manual_seed(SEED)
    painted = generate_posters(folder / "painted", config.painted, config.each, config.slowly)
    drawn, attributes = draw_posters(config.drawn, SEED + 1, "train", folder / "drawn.npz")
    readers = [train_reader(folder / f"eyes{seed}", {"width": w, "depth": d}, seed).eval() for w, d, seed in READERS]
    probabilities = ensemble_probabilities(readers, painted)
    one_hots = [F.one_hot(torch.from_numpy(attributes[:, i]), n) for i, n in enumerate(SIZES)]
    one_hot_labels = torch.cat(one_hots, dim=1).float()
    before = copy.deepcopy(prefdisc).requires_grad_(False).eval()
    target = _mean_drawn_features(before, probabilities, config.twins)
    spread = target.var()
    training = VisionTraining(prefdisc)
    num_painted = round(config.batch * config.share)
    num_drawn = config.batch - num_painted

    def loss_of(model: nn.Module, step: int) -> dict[str, Tensor]:
        generator, device = generator_of(SEED, step), device_of(model)
        before.to(device)
        old = torch.randint(len(drawn), (num_drawn,), generator=generator)
        new = torch.randint(len(painted), (num_painted,), generator=generator)
        posters = soften(torch.cat([drawn[old], painted[new]]).float() / 255, generator).to(device)
        with torch.no_grad():
            target_features = torch.cat([before.features(posters[:num_drawn]), target[new].to(device)])
        labels = torch.cat([one_hot_labels[old], probabilities[new]]).to(device).split(SIZES, dim=1)
        features, *read = model(posters)
        losses = [F.cross_entropy(*both) for logits in read for both in zip(logits, labels, strict=True)]
        distance = (features - target_features).square().flatten(1).mean(1) / spread
        return {
            "loss": sum(losses) + config.likeness * distance.mean(),
            "read": sum(losses).detach(),
            "drawn": distance[:num_drawn].mean().detach(),
            "painted": distance[num_drawn:].mean().detach(),
        }

    return fit(training, loss_of, config.loop, folder / "sight").prefdisc


def _mean_drawn_features(prefdisc: PrefDisc, probabilities: Tensor, count: int) -> Tensor:
    """Return the mean features (N, latents, D) of `count` drawings with attributes sampled from `probabilities`."""
    generator, rng, total = generator_of(SEED + 2, 0), np.random.default_rng(SEED + 2), 0
    for view in range(count):
        rows = [torch.multinomial(part, 1, generator=generator) for part in probabilities.split(SIZES, dim=1)]
        attributes = torch.cat(rows, dim=1).numpy()
        images = draw_uint8(attributes, rng)
        total = total + encode_posters(prefdisc, images, attributes, 1, SEED + 3 + view).features[:, 0]
    return total / count


def train(folder: Path, config: GeneratedPostersConfig = CONFIG) -> dict[str, float]:
    """Adapt the shipped PrefDisc in place, and return its accuracies on validation users and posters."""
    from train.pocket.prefdisc import SHIPPED, export

    model = load_preference_model("pocket")
    dependencies = {"files": weights_digests(), "reading": model.encoder_fingerprint}
    state_folder = folder / f"painted-{settings_digest(dependencies)}"
    prefdisc = adapt_vision(model.require("prefdisc"), state_folder, config)
    accuracies = validate(prefdisc, World.load())
    export(prefdisc, SHIPPED, accuracies)
    return accuracies
