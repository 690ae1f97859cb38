"""Makes the text encoders robust to prompt wordings such as "a poster of a cactus, highly detailed".

The generator was trained on bare captions ("a cactus over the sea, neon colours"). Words before a caption change all
states after them: with "a poster of", only a third of the images showed the prompted subject. Only the text encoders
are trained. They learn to encode a reworded caption so that the UNet predicts the same as for the bare caption. Bare
captions keep their meaning, so other models do not need to be retrained.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import UNet2DConditionModel
from safetensors.torch import save_file
from torch import Tensor, nn

from prefgen.pocket.shapes import FEW_STEP_LORA
from train.data.posters import ATTRIBUTES, BEFORE, UNSEEN, Wordings
from train.diffusion import TextConditioning, predict, sample_timesteps
from train.evaluate.judge import Judge, load_judge
from train.evaluate.pictures.tensor_cache import weights_digests
from train.loop import LoopConfig, fit, generator_of
from train.pocket import generator, lora, text
from train.pocket.bfloat16 import speed_up_bfloat16
from train.pocket.latents import latent_pool
from train.pocket.sampling import FewStepSampling, PocketGenerator, Sampling, seed_noise
from train.settings import settings_digest


@dataclass(frozen=True)
class PromptWordingsConfig:
    """Settings of the training. The defaults are our choice.

    Attributes:
        wordings: Distribution of the wordings.
        near: Weight of 1 - cosine similarity between the pooled reworded and bare captions.
        batch: Number of captions per step.
        loop: Length and optimiser.
    """

    wordings: Wordings = Wordings()  # noqa: RUF009 (frozen)
    near: float = 0.1
    batch: int = 32
    loop: LoopConfig = LoopConfig(  # noqa: RUF009 (frozen)
        steps=1000, learning_rate=4e-4, weight_decay=0.0, warmup=50, ema=0.99, save_every=100, bfloat16=True
    )


CONFIG = PromptWordingsConfig()


def wording_loss(
    unet: UNet2DConditionModel, bare: TextConditioning, reworded: TextConditioning, at: tuple, near: float
) -> dict[str, Tensor]:
    """Measure how much the UNet's prediction and the pooled caption change with the wording.

    Args:
        unet: The frozen UNet.
        bare: Conditioning of the bare captions.
        reworded: Conditioning of the reworded captions.
        at: Other inputs of the UNet: noisy latents, timesteps and sizes.
        near: Weight of the distance between the pooled captions.
    """
    noisy, steps, sizes = at

    with torch.no_grad():
        target = predict(unet, noisy, steps, bare, sizes)
    prediction_loss = F.mse_loss(predict(unet, noisy, steps, reworded, sizes), target)
    pooled_distance = 1 - F.cosine_similarity(reworded[1].float(), bare[1].float()).mean()
    return {"loss": prediction_loss + near * pooled_distance, "moved": prediction_loss, "apart": pooled_distance}


def train(folder: Path, config: PromptWordingsConfig = CONFIG, seed: int = 53) -> dict[str, dict[str, float]]:
    """Train, write text_encoders.safetensors, and return the results of `measure`."""
    torch.manual_seed(seed)
    scheduler, pool, bare = generator.schedule(), latent_pool(folder), text.load()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    unet = speed_up_bfloat16(generator.load()).to(device)
    encoders = nn.ModuleList([deepcopy(bare.clip_l), deepcopy(bare.clip_g)]).requires_grad_(True)
    for module in text.unused_modules(encoders[0]):
        module.requires_grad_(False)
    for encoder in (bare.clip_l, bare.clip_g):
        encoder.to(device)

    def loss_of(encoders: nn.Module, step: int) -> dict[str, Tensor]:
        rng, noise = np.random.default_rng([seed, step]), generator_of(seed, step)
        chosen = rng.integers(len(pool), size=config.batch)
        captions = [generator.training_caption(pool.indices[i], rng, done=1.0) for i in chosen]
        latents = pool.latents[torch.from_numpy(chosen)].float()
        times = sample_timesteps(scheduler, config.batch, noise, generator.SHIFT)
        noisy = scheduler.add_noise(latents, torch.randn(latents.shape, generator=noise), times)
        at = tuple(part.to(device) for part in (noisy, times, generator.sizes(config.batch)))
        with torch.no_grad():
            bare_conditioning = bare(captions)
        reworded_conditioning = text.TextEncoders(*encoders)([config.wordings.of(caption, rng) for caption in captions])
        return wording_loss(unet, bare_conditioning, reworded_conditioning, at, config.near)

    encoders = fit(encoders, loss_of, config.loop, folder / f"wordings-{settings_digest({'files': weights_digests()})}")
    save_file(text.to_file(*encoders), text.FILE)
    return measure()


@torch.no_grad()
def measure(each: int = 8, seed: int = 9_000_000) -> dict[str, dict[str, float]]:
    """Return for each wording the share of images in which the validation judge recognises the subject.

    Measures the generator with its usual number of steps, and with the few-step LoRA in one step.

    Args:
        each: Number of images per subject.
        seed: Seed of the first image.
    """
    judge, slow, quick = load_judge("validation_judge"), PocketGenerator.load(), PocketGenerator.load()
    lora.merge_lora(quick.unet, FEW_STEP_LORA)
    samplers = {"many_steps": (slow, Sampling()), "one_step": (quick, FewStepSampling(1))}
    return {
        wording: {name: _subject_accuracy(judge, *sampler, wording, each, seed) for name, sampler in samplers.items()}
        for wording in ("{}", *(f"{lead} {{}}" for lead in BEFORE[:2]), *UNSEEN)
    }


def _subject_accuracy(
    judge: Judge, painter: PocketGenerator, sampling: Sampling, wording: str, each: int, seed: int
) -> float:
    right = []
    for subject, phrase in enumerate(ATTRIBUTES["subject"].values()):
        seeds = [seed + each * subject + i for i in range(each)]
        images = painter.paint([wording.format(phrase)] * each, seed_noise(seeds), sampling)
        right += [read.indices[0] == subject for read in judge.predict((images * 255).round().byte())]
    return round(sum(right) / len(right), 4)
