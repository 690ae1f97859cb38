"""The pocket's adapter: agents and posters that they like, for `train.adapter`, which trains it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from prefgen.adapter import AdapterConfig, PreferenceAdapter, UserParts
from prefgen.checkpoint import read_checkpoint
from prefgen.pocket.shapes import CLIP_G, FOLDER, UNET
from prefgen.preference import load_preference_model
from train.adapter.config import AdapterTraining
from train.adapter.fit import train_adapter, write_adapter
from train.data.agents import World, utility_of
from train.data.posters import Attributes, random_caption
from train.diffusion import Painted
from train.loop import LoopConfig
from train.pocket import generator, text
from train.pocket.bfloat16 import quicken
from train.pocket.encoded import EncodedAgents, encoded_agents
from train.pocket.latents import LatentPool, latent_pool
from train.pocket.people import HELD_BACK
from train.pocket.warm_start import warm_start

FILE = FOLDER / "preference.safetensors"
CONFIG = LoopConfig(steps=2400, learning_rate=1.5e-3, warmup=30, ema=0.99, save_every=100, bfloat16=True)
BATCH, AGENTS = 64, 4000
# Posters that an agent chooses among. With 16 the taste was faint at strength 1, and more strength cost the subject;
# with many the adapter learns a strong taste at strength 1.
SHOWN = 512
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


def config_for(agents: EncodedAgents, fusion: str = "concatenation") -> AdapterConfig:
    """The pocket adapter's shapes: two tokens a part, every cross-attention block of the pocket UNet."""
    sem, core, img = (part.shape[-1] for part in agents.parts)
    blocks = UNET.attention_blocks()
    return AdapterConfig(sem, core, img, CLIP_G.hidden, UNET.context_dim, blocks=blocks, fusion=fusion)


def train(
    folder: Path,
    config: LoopConfig = CONFIG,
    seed: int = 61,
    fusion: str = "concatenation",
    out: Path = FILE,
    from_shipped: bool = False,
) -> None:
    """Train, and put the adapter into a preference checkpoint that has the alignment: the shipped one, or `out`.

    from_shipped: go on from the adapter that the checkpoint has, with its fusion, for training that goes over several
    sittings.
    """
    torch.manual_seed(seed)
    # Subjects that the evaluation's prompts name are left out: an adapter has to serve prompts it never saw.
    world, pool, encode = World.load(), latent_pool(folder).without(HELD_BACK), text.load()
    agents = encoded_agents(folder, AGENTS, seed)
    unet = quicken(generator.load())
    if from_shipped:
        adapter = load_preference_model(out).require("adapter").requires_grad_(True)
    else:
        adapter = PreferenceAdapter(config_for(agents, fusion))
        adapter.alignment.load_state_dict(read_checkpoint(out).part("alignment"))
        warm_start(adapter, unet, encode, agents, world)

    def batches(step: int) -> tuple[UserParts, Painted]:
        rng = np.random.default_rng([seed, step])
        rows = rng.integers(len(agents), size=BATCH)
        liked = liked_posters(world, pool, agents.utilities[rows], rng)
        context, pooled = encode([short_caption(pool.indices[i], rng) for i in liked])
        latents = pool.latents[torch.from_numpy(liked)].float()
        return agents.users(torch.from_numpy(rows)), Painted(latents, context, pooled, generator.sizes(BATCH))

    training = AdapterTraining(config, BATCH, NO_USER, shift=generator.SHIFT, fusion=fusion, seed=seed)
    adapter = train_adapter(adapter, unet, generator.schedule(), batches, training, folder / "adapter")
    write_adapter(out, adapter, steps=config.steps, batch=BATCH, agents=AGENTS, seed=seed)
