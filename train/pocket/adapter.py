"""Trains the shipped pocket adapter: a codebook of taste attributes, and maps from user embeddings to its logits.

The codebook is trained first, without users. It has one entry for each value of each taste attribute, and the entries
serve as user tokens. They learn to make the frozen UNet predict, for a prompt that names only the subject, what it
predicts for a full caption (context distillation). Then a ridge regression from embeddings to utilities provides the
maps to the logits. The codebook and the regression are our choice; PrefGen trains its projections with the diffusion
loss.
"""

from __future__ import annotations

from pathlib import Path
from shutil import copyfile

import numpy as np
import torch
from diffusers import UNet2DConditionModel
from torch import Tensor

from prefgen.adapter import AdapterConfig, PreferenceAdapter, UserParts
from prefgen.adapter.codebook import Codebook
from prefgen.adapter.fusion import CODEBOOK
from prefgen.checkpoint.file import read_checkpoint
from prefgen.pocket.shapes import CLIP_G, FOLDER, UNET
from train.adapter.config import AdapterTrainingConfig
from train.adapter.fit import train_adapter, write_adapter
from train.adapter.initialisation import initialise_from_text
from train.data.posters import ATTRIBUTES, TASTE
from train.diffusion import DiffusionBatch
from train.evaluate.pictures.tensor_cache import weights_digests
from train.loop import LoopConfig
from train.pocket import generator, text
from train.pocket.agent_embeddings import AgentEmbeddings, load_agent_embeddings
from train.pocket.bfloat16 import speed_up_bfloat16
from train.pocket.captions import sample_captions
from train.pocket.latents import latent_pool
from train.pocket.people import HELD_OUT_SUBJECTS, VALIDATION_SUBJECTS
from train.pocket.ridge import ridge
from train.pocket.warm_start import value_states
from train.settings import settings_digest

FILE = FOLDER / "preference.safetensors"
CONFIG = LoopConfig(steps=400, learning_rate=5e-3, weight_decay=0.0, warmup=20, ema=0.99, save_every=50, bfloat16=True)
BATCH, AGENTS = 64, 4000
SIZES = tuple(len(ATTRIBUTES[name]) for name in TASTE)
# Standard deviation of the noise added to each entry's initial text state, so that entries differ from the first step.
SPREAD = 0.1
# Initial scale of the entries. It does not affect the output, because entries are normalised. It is small, so that
# entries change ten times as fast as keys and values at the same learning rate.
SIZE = 0.1
CERTAIN = 100.0  # logit of a chosen entry, large enough for a probability of 1
PENALTY = 300.0
# ODDS is the utility that multiplies the odds of an entry by e. Strength 1 of the node equals STRENGTH. Both were
# selected on validation agents.
ODDS = 0.5
STRENGTH = 0.75


def train(
    folder: Path,
    config: LoopConfig = CONFIG,
    seed: int = 66,
    out: Path = FILE,
    held_back: tuple[str, ...] = HELD_OUT_SUBJECTS,
    strength: float = STRENGTH,
) -> None:
    """Train the codebook, fit the logits, and write the adapter into a checkpoint that has an alignment.

    Args:
        folder: Folder for states and caches.
        config: Length and optimiser of the codebook training.
        seed: Random seed.
        out: The checkpoint.
        held_back: Subjects to exclude from the codebook training.
        strength: Strength of the trained adapter that becomes strength 1 in the written checkpoint.
    """
    torch.manual_seed(seed)
    agents = load_agent_embeddings(folder, AGENTS, seed)
    trained = train_codebook(folder, config, seed, held_back)
    adapter = PreferenceAdapter(config_for(agents))
    adapter.alignment.load_state_dict(read_checkpoint(out).part("alignment"))
    adapter.blocks.load_state_dict(trained.blocks.state_dict())
    adapter.codebook.table, adapter.codebook.norm = trained.codebook.table, trained.codebook.norm
    fit_logits(adapter.codebook, align_parts(adapter, agents.parts), torch.from_numpy(agents.utilities).float() / ODDS)
    summary = {"steps": config.steps, "batch": BATCH, "agents": AGENTS, "seed": seed, "held_back": list(held_back)}
    write_adapter(out, scale_values(adapter, strength), **summary, strength=strength)


def train_for_choosing(folder: Path) -> str:
    """Train the adapter that is used to select odds and strength, and return the path of its checkpoint.

    Its codebook is trained without the validation subjects, and its strength is not rescaled. Pass the checkpoint to
    `train.evaluate.generation.strength`.
    """
    out = folder / "adapter_for_choosing.safetensors"
    copyfile(FILE, out)
    train(folder, out=out, held_back=(*HELD_OUT_SUBJECTS, *VALIDATION_SUBJECTS), strength=1.0)
    return str(out)


def config_for(agents: AgentEmbeddings) -> AdapterConfig:
    """Return the shapes of the pocket adapter. It has one token per taste attribute, and reads all embedding parts."""
    sem, core, img = (part.shape[-1] for part in agents.parts)
    return AdapterConfig(
        *(sem, core, img, CLIP_G.hidden, UNET.context_dim),
        *[len(SIZES)] * 3,
        blocks=UNET.attention_blocks(),
        fusion=CODEBOOK,
        codebook_sizes=SIZES,
    )


def train_codebook(folder: Path, config: LoopConfig, seed: int, held_back: tuple[str, ...]) -> PreferenceAdapter:
    """Train the codebook, keys and values on posters with random attributes.

    Instead of user embeddings, this adapter receives the attribute values as one-hot vectors, (B, W).
    """
    pool, encode = latent_pool(folder).without(held_back), text.load()
    unet, known = speed_up_bfloat16(generator.load()), text.CachedTextEncoders(encode)
    adapter = initialise_codebook(unet, encode)
    values = torch.from_numpy(pool.indices[:, 1:] + np.cumsum([0, *SIZES[:-1]]))

    def batches(step: int) -> tuple[UserParts, DiffusionBatch]:
        rng = np.random.default_rng([seed, step])
        rows = rng.integers(len(pool), size=BATCH)
        prompt, teacher = sample_captions(pool.indices[rows], rng, known)
        chosen = torch.zeros(BATCH, sum(SIZES)).scatter_(1, values[rows], 1.0)
        latents = pool.latents[torch.from_numpy(rows)].float()
        return UserParts(core=chosen), DiffusionBatch(latents, *prompt, generator.sizes(BATCH), teacher)

    training = AdapterTrainingConfig(config, BATCH, shift=generator.SHIFT, target="caption", seed=seed)
    settings = {"held_back": sorted(held_back), "words": [SIZE, SPREAD], "files": weights_digests()}
    state_folder = folder / "words" / settings_digest(settings)
    return train_adapter(adapter, unet, generator.schedule(), batches, training, state_folder)


@torch.no_grad()
def initialise_codebook(unet: UNet2DConditionModel, encode: text.TextEncoders) -> PreferenceAdapter:
    """Initialise codebook entries with the text states of their values, and K and V with the text projections."""
    count = sum(SIZES)
    shapes = {"core_dim": count, "sem_tokens": 0, "core_tokens": len(SIZES), "img_tokens": 0}
    adapter = PreferenceAdapter(
        AdapterConfig(
            **{"sem_dim": 0, "img_dim": 0, "text_dim": 0, "context_dim": UNET.context_dim, **shapes},
            **{"blocks": UNET.attention_blocks(), "fusion": CODEBOOK, "codebook_sizes": SIZES},
        )
    )
    initialise_from_text(adapter, unet)
    codebook, states = adapter.codebook, torch.cat([value_states(encode, name) for name in TASTE])
    deviation = float(states.std(-1).mean())
    states = (states - states.mean(-1, keepdim=True)) / deviation
    codebook.table.copy_(SIZE * (states + SPREAD * torch.randn_like(states)))
    codebook.norm.weight.fill_(deviation)
    codebook.to_logits["core"].weight.copy_(CERTAIN * torch.eye(count))
    codebook.to_logits["core"].bias.zero_()
    codebook.to_logits.requires_grad_(False)
    codebook.prior.requires_grad_(False)
    return adapter


@torch.no_grad()
def align_parts(adapter: PreferenceAdapter, parts: UserParts) -> dict[str, Tensor]:
    """Return the inputs for predicting the logits: the embedding parts, with sem mapped into text space."""
    return {"sem": adapter.alignment(parts.sem), "core": parts.core, "img": parts.img}


@torch.no_grad()
def fit_logits(codebook: Codebook, parts: dict[str, Tensor], target_logits: Tensor) -> None:
    """Fit the linear maps that predict the logits, in place, with one ridge regression on all parts together.

    Inputs are standardised, so a part that equals its mean does not change the logits.

    Args:
        codebook: The codebook.
        parts: Inputs, each (N, D).
        target_logits: Target logits, (N, W).
    """
    codebook.prior.copy_(target_logits.mean(0))
    fitted = ridge(list(parts.values()), target_logits, PENALTY)
    for linear, (weight, bias) in zip(codebook.to_logits.values(), fitted, strict=True):
        linear.weight.copy_(weight)
        linear.bias.copy_(bias)


@torch.no_grad()
def scale_values(adapter: PreferenceAdapter, strength: float) -> PreferenceAdapter:
    """Scale all value projections in place. The output is linear in them, so strength 1 then acts like `strength`."""
    for block in adapter.blocks.values():
        block.to_v.weight.mul_(strength)
    return adapter
