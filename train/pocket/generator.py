"""Trains the pocket generator on captioned posters: a small SDXL UNet together with its text encoders.

The text encoders are trained together with the UNet. The UNet can only draw differences that the text encoders encode,
and CLIP's own loss makes them encode too few. With a frozen `clip_g`, which hardly encodes textures, the UNet learned
no textures in 1,700 steps. A penalty keeps the pooled states of `clip_g` close to CLIP's, because the space of CLIP's
pooled states is used to align `sem` and to compare images.
"""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import numpy as np
import torch
from diffusers import DDPMScheduler, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from prefgen.pocket.shapes import FOLDER, SIZE_CONDITION, UNET
from train.data.posters import Attributes, random_caption
from train.diffusion import DiffusionBatch, diffusion_loss
from train.loop import LoopConfig, device_of, fit, generator_of
from train.pocket import text
from train.pocket.bfloat16 import speed_up_bfloat16
from train.pocket.clip import LENGTH
from train.pocket.latents import latent_pool

FILE = FOLDER / "unet.safetensors"
CONFIG = LoopConfig(steps=4000, learning_rate=1.2e-3, ema=0.998, save_every=100, log_every=100, bfloat16=True)
# Smaller batches learn subjects more slowly: with a batch of 16, 6,600 steps reached .12, and with a batch of 64, 400
# steps reached .31.
BATCH = 64
SHIFT = 2.0
NEAR = 0.1  # weight of 1 - cosine similarity between a pooled caption and CLIP's pooled caption
NO_CAPTION = 0.1  # share of captions that are empty
# In this first share of the training, captions name all attributes. Shapes are hard to learn from captions that omit
# palette and composition: 6,000 steps with varying captions learned less than 700 steps with full captions.
WHOLE_UNTIL = 0.65
# In the rest of the training: share of captions that name only the subject, and share that name all attributes.
SUBJECT_ALONE, WHOLE = 0.35, 0.3


class Painter(nn.Module):
    """UNet and text encoders, trained together. Unused layers of `clip_l` (last layer, projection) stay frozen."""

    def __init__(self, unet: UNet2DConditionModel, clip_l: nn.Module, clip_g: nn.Module):
        super().__init__()
        self.unet, self.clip_l = unet.requires_grad_(True), clip_l.requires_grad_(True)
        self.clip_g = clip_g.requires_grad_(True)
        for module in text.unused_modules(clip_l):
            module.requires_grad_(False)


def schedule() -> DDPMScheduler:
    """Return SDXL's noise schedule with v-prediction."""
    return DDPMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", prediction_type="v_prediction"
    )


def sizes(batch: int) -> Tensor:
    """Return the size conditioning (B, 6) that ComfyUI passes for a 96 px image."""
    return torch.tensor([SIZE_CONDITION] * batch, dtype=torch.float32)


def training_caption(row: np.ndarray, rng: np.random.Generator, done: float) -> str:
    """Sample a training caption of a poster.

    Captions are empty or name all attributes. Late in the training, some captions name only the subject, and some name
    the subject and a random subset of the other attributes.

    Args:
        row: Attribute indices of the poster, (6,).
        rng: Random generator.
        done: Share of the training that is finished, 0 to 1.
    """
    if rng.random() < NO_CAPTION:
        return ""
    each = 1.0
    if done >= WHOLE_UNTIL:
        each = rng.choice([0.0, 1.0, 0.6], p=[SUBJECT_ALONE, WHOLE, 1 - SUBJECT_ALONE - WHOLE])
    return random_caption(Attributes.from_indices(row), rng, each=each)


def train(folder: Path, config: LoopConfig = CONFIG, seed: int = 51, from_shipped: bool = False) -> dict[str, int]:
    """Train, write unet.safetensors and text_encoders.safetensors, and return the number of posters seen.

    Args:
        folder: Folder for states and latents.
        config: Length and optimiser.
        seed: Random seed.
        from_shipped: Whether to start from the shipped UNet instead of random weights.
    """
    torch.manual_seed(seed)
    scheduler, pool, encode = schedule(), latent_pool(folder), text.load()
    unet = load() if from_shipped else UNet2DConditionModel(**UNET.diffusers_kwargs())
    clip = deepcopy(encode.clip_g)
    painter = Painter(speed_up_bfloat16(unet), encode.clip_l, encode.clip_g)

    def loss_of(painter, step):
        rng = np.random.default_rng([seed, step])
        chosen = rng.integers(len(pool), size=BATCH)
        captions = [training_caption(pool.indices[i], rng, step / config.steps) for i in chosen]
        device = device_of(painter)
        context, pooled = text.TextEncoders(painter.clip_l, painter.clip_g)(captions)
        with torch.no_grad():
            target_pooled = clip.to(device)(text.tokenize(captions, LENGTH).to(device)).text_embeds
        pooled_distance = 1 - F.cosine_similarity(pooled.float(), target_pooled.float()).mean()
        latents = pool.latents[torch.from_numpy(chosen)].float()
        batch = DiffusionBatch(latents, context, pooled, sizes(BATCH)).to(device, torch.float32)
        mse = diffusion_loss(painter.unet, scheduler, batch, generator_of(seed, step), SHIFT)
        return {"loss": mse + NEAR * pooled_distance, "mse": mse, "apart": pooled_distance}

    painter = fit(painter, loss_of, config, folder / "generator")
    save(painter.unet)
    save_file(text.to_file(painter.clip_l, painter.clip_g), text.FILE)
    return {"posters_seen": config.steps * BATCH}


def save(unet: UNet2DConditionModel) -> None:
    """Write unet.safetensors, in half precision and diffusers' key names."""
    save_file({k: v.half().contiguous() for k, v in unet.state_dict().items()}, FILE)


def load() -> UNet2DConditionModel:
    """Load the shipped UNet, frozen."""
    unet = UNet2DConditionModel(**UNET.diffusers_kwargs())
    unet.load_state_dict({k: v.float() for k, v in load_file(FILE).items()})
    return unet.requires_grad_(False).eval()
