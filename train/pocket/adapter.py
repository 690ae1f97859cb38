"""Trains the pocket adapter through diffusers' UNet: the UNet frozen, diffusion loss on posters that agents like."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from prefgen.adapter import AdapterConfig, PreferenceAdapter, install_in_diffusers
from prefgen.checkpoint import read_checkpoint, write_part
from prefgen.pocket.shapes import CLIP_G, FOLDER, UNET
from train.data.agents import World, utility_of
from train.data.posters import Attributes, random_caption
from train.loop import LoopConfig, fit, generator_of
from train.pocket import generator, text
from train.pocket.encoded import EncodedAgents, encoded_agents
from train.pocket.latents import LatentPool, latent_pool
from train.pocket.warm_start import start_from_text

FILE = FOLDER / "preference.safetensors"
CONFIG = LoopConfig(steps=450, learning_rate=1.5e-3, warmup=30, ema=0.98, save_every=100)
BATCH, AGENTS, SHOWN = 32, 1000, 16
WORDY = 0.25  # share of captions that name further attributes
NO_USER = 0.1  # share of the rows without user tokens (IP-Adapter's image dropout is 0.05; default ours)


def liked_posters(world: World, pool: LatentPool, utilities: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """For each agent, one of `SHOWN` random posters of the pool, chosen by Plackett-Luce. (n, 24) -> rows (n,).

    Bradley-Terry's choice among many: the best after Gumbel noise at the world's temperature.
    """
    shown = rng.integers(len(pool), size=(len(utilities), SHOWN))
    u = utility_of(utilities[:, None, :], pool.indices[shown])
    best = (u / world.temperature + rng.gumbel(size=u.shape)).argmax(1)
    return shown[np.arange(len(shown)), best]


def short_caption(row: np.ndarray, rng: np.random.Generator) -> str:
    """Mostly the subject alone: what the words leave open is what a taste can decide."""
    each = 0.5 if rng.random() < WORDY else 0.0
    return random_caption(Attributes.from_indices(row), rng, each=each)


def user_tokens(adapter: PreferenceAdapter, agents: EncodedAgents, rows: Tensor, generator: torch.Generator) -> Tensor:
    """User tokens (B, T, C), some rows zeroed: a user who is not there adds nothing to the image."""
    tokens = adapter.user_tokens(agents.users(rows))
    kept = torch.rand(len(rows), 1, 1, generator=generator) >= NO_USER
    return tokens * kept


class Branches(nn.Module):
    """The adapter's trained weights, apart from the alignment, which stays as `train.pocket.align` left it."""

    def __init__(self, adapter: PreferenceAdapter):
        super().__init__()
        self.adapter = adapter
        if adapter.alignment is not None:
            adapter.alignment.requires_grad_(False)


def config_for(agents: EncodedAgents) -> AdapterConfig:
    """The pocket adapter's shapes: two tokens a part, every cross-attention block of the pocket UNet."""
    sem, core, img = (part.shape[-1] for part in agents.parts)
    return AdapterConfig(sem, core, img, CLIP_G.hidden, UNET.context_dim, blocks=UNET.attention_blocks())


def train(folder: Path, config: LoopConfig = CONFIG, seed: int = 61) -> None:
    """Train and put the adapter into the shipped preference checkpoint."""
    torch.manual_seed(seed)
    world, scheduler = World.load(), generator.schedule()
    pool, encode = latent_pool(folder), text.load()
    agents = encoded_agents(folder, AGENTS, seed)
    adapter = PreferenceAdapter(config_for(agents))
    adapter.alignment.load_state_dict(read_checkpoint(FILE).part("alignment"))
    unet = generator.load().to(memory_format=torch.channels_last)
    start_from_text(adapter, unet, encode, agents, world)
    branch = install_in_diffusers(unet, adapter)

    def loss_of(model, step):
        rng, noise = np.random.default_rng([seed, step]), generator_of(seed, step)
        rows = rng.integers(len(agents), size=BATCH)
        liked = liked_posters(world, pool, agents.utilities[rows], rng)
        context, pooled = encode([short_caption(pool.indices[i], rng) for i in liked])
        latents = pool.latents[torch.from_numpy(liked)].float()
        with branch.users(user_tokens(model.adapter, agents, torch.from_numpy(rows), noise)):
            return {"loss": generator.diffusion_loss(unet, scheduler, latents, context, pooled, noise)}

    adapter = fit(Branches(adapter), loss_of, config, folder / "adapter").adapter
    tensors = {k: v.half() for k, v in adapter.state_dict().items() if not k.startswith("alignment.")}
    about = {"adapter": {"steps": config.steps, "batch": BATCH, "agents": AGENTS, "seed": seed}}
    write_part(FILE, "adapter", adapter.config.to_dict(), tensors, training=about)
