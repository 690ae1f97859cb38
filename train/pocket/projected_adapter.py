"""Trains the adapter of the PrefGen paper for the ablation: each embedding part is projected to separate tokens.

The training data are agents and posters that the agents like. The shipped adapter is trained by `train.pocket.adapter`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from prefgen.adapter import AdapterConfig, PreferenceAdapter, UserParts
from prefgen.checkpoint.file import read_checkpoint
from prefgen.pocket.shapes import CLIP_G, UNET
from train.adapter.config import AdapterTrainingConfig
from train.adapter.fit import train_adapter, write_adapter
from train.data.agents import World, utility_of
from train.diffusion import DiffusionBatch
from train.loop import LoopConfig
from train.pocket import generator, text
from train.pocket.adapter import AGENTS, scale_values
from train.pocket.agent_embeddings import AgentEmbeddings, load_agent_embeddings
from train.pocket.bfloat16 import speed_up_bfloat16
from train.pocket.captions import sample_captions
from train.pocket.latents import LatentPool, latent_pool
from train.pocket.people import HELD_OUT_SUBJECTS, VALIDATION_SUBJECTS
from train.pocket.warm_start import warm_start

CONFIG = LoopConfig(steps=2000, learning_rate=1.5e-3, warmup=50, ema=0.99, save_every=100, bfloat16=True)
BATCH = 64
# Number of posters that an agent chooses from. With 16 posters, the taste was weak at strength 1, and a higher strength
# damaged the subject. With many posters, the adapter learns a strong taste at strength 1.
SHOWN = 512
# Factor of the values, so that strength 1 of the node equals this strength. Selected on validation agents
# (generation.strength).
STRENGTH = 1.15


def liked_posters(world: World, pool: LatentPool, utilities: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """For each agent (n, 24), sample one of `SHOWN` posters with the Plackett-Luce model. Returns pool rows (n,).

    Plackett-Luce extends Bradley-Terry to many options. The sample is the poster with the highest utility after adding
    Gumbel noise at the world's temperature.
    """
    candidates = rng.integers(len(pool), size=(len(utilities), SHOWN))
    u = utility_of(utilities[:, None, :], pool.indices[candidates])
    best = (u / world.temperature + rng.gumbel(size=u.shape)).argmax(1)
    return candidates[np.arange(len(candidates)), best]


def config_for(agents: AgentEmbeddings, fusion: str = "concatenation") -> AdapterConfig:
    """Return the shapes of the adapter: two tokens for each part, and all cross-attention blocks of the pocket UNet."""
    sem, core, img = (part.shape[-1] for part in agents.parts)
    blocks = UNET.attention_blocks()
    return AdapterConfig(sem, core, img, CLIP_G.hidden, UNET.context_dim, blocks=blocks, fusion=fusion)


def train(
    folder: Path,
    config: LoopConfig = CONFIG,
    seed: int = 66,
    fusion: str = "concatenation",
    *,
    out: Path,
) -> None:
    """Train the adapter and write it into `out`, a preference checkpoint that has an alignment."""
    torch.manual_seed(seed)
    # Exclude the subjects of the evaluation's prompts, because an adapter must work for unseen prompts.
    world, pool, encode = (
        World.load(),
        latent_pool(folder).without((*HELD_OUT_SUBJECTS, *VALIDATION_SUBJECTS)),
        text.load(),
    )
    agents = load_agent_embeddings(folder, AGENTS, seed)
    unet = speed_up_bfloat16(generator.load())
    adapter = PreferenceAdapter(config_for(agents, fusion))
    adapter.alignment.load_state_dict(read_checkpoint(out).part("alignment"))
    warm_start(adapter, unet, encode, agents, world)
    known = text.CachedTextEncoders(encode)

    def batches(step: int) -> tuple[UserParts, DiffusionBatch]:
        rng = np.random.default_rng([seed, step])
        rows = rng.integers(len(agents), size=BATCH)
        liked = liked_posters(world, pool, agents.utilities[rows], rng)
        prompt, teacher = sample_captions(pool.indices[liked], rng, known)
        latents = pool.latents[torch.from_numpy(liked)].float()
        return agents.users(torch.from_numpy(rows)), DiffusionBatch(latents, *prompt, generator.sizes(BATCH), teacher)

    training = AdapterTrainingConfig(config, BATCH, shift=generator.SHIFT, fusion=fusion, target="caption", seed=seed)
    adapter = train_adapter(adapter, unet, generator.schedule(), batches, training, folder / "adapter")
    summary = {"steps": config.steps, "batch": BATCH, "agents": AGENTS, "seed": seed, "target": training.target}
    write_adapter(out, scale_values(adapter, STRENGTH), **summary, strength=STRENGTH)
