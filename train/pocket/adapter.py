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
from train.data.posters import ATTRIBUTES, TASTE, Attributes, caption
from train.diffusion import Captions, Painted
from train.loop import LoopConfig
from train.pocket import generator, text
from train.pocket.bfloat16 import quicken
from train.pocket.encoded import EncodedAgents, encoded_agents
from train.pocket.latents import LatentPool, latent_pool
from train.pocket.people import FOR_CHOOSING, HELD_BACK
from train.pocket.warm_start import warm_start

FILE = FOLDER / "preference.safetensors"
CONFIG = LoopConfig(steps=2000, learning_rate=1.5e-3, warmup=50, ema=0.99, save_every=100, bfloat16=True)
BATCH, AGENTS = 64, 4000
# Posters that an agent chooses among. With 16 the taste was faint at strength 1, and more strength cost the subject;
# with many the adapter learns a strong taste at strength 1.
SHOWN = 512
WORDY = 0.25  # share of captions that name further attributes
STRANGE = 0.5  # share of captions whose subject is between two
# Chosen on validation agents (generation.strength) and written into the values: it is the 1 of the node.
STRENGTH = 1.15


def liked_posters(world: World, pool: LatentPool, utilities: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """For each agent, one of `SHOWN` random posters of the pool, chosen by Plackett-Luce. (n, 24) -> rows (n,).

    Bradley-Terry's choice among many: the best after Gumbel noise at the world's temperature.
    """
    shown = rng.integers(len(pool), size=(len(utilities), SHOWN))
    u = utility_of(utilities[:, None, :], pool.indices[shown])
    best = (u / world.temperature + rng.gumbel(size=u.shape)).argmax(1)
    return shown[np.arange(len(shown)), best]


def names_told(rng: np.random.Generator) -> tuple[str, ...]:
    """What a prompt names: mostly the subject alone, since what the words leave open is what a taste can decide."""
    more = rng.random() < WORDY
    return ("subject", *(name for name in TASTE if more and rng.random() < 0.5))


def captions_for(indices: np.ndarray, rng: np.random.Generator, encode: text.Remembered) -> tuple[Captions, Captions]:
    """What prompts say of posters (B, 6), and what captions say that name everything: each context and pooled text.

    A share of them is of a thing between two subjects, which no word names: what a user adds has to do without knowing
    what is painted.
    """
    told = [names_told(rng) for _ in indices]
    strange = rng.random(len(indices)) < STRANGE
    others = indices.copy()
    others[strange, 0] = rng.permutation(indices[:, 0])[strange]
    share = torch.from_numpy(np.where(strange, rng.random(len(indices)), 0.0)).float()

    def encoded(names: list[tuple[str, ...]]) -> Captions:
        both = [
            encode([caption(Attributes.from_indices(row), own) for row, own in zip(rows, names, strict=True)])
            for rows in (indices, others)
        ]
        return tuple(
            torch.lerp(one, two, share.view(-1, *[1] * (one.ndim - 1))) for one, two in zip(*both, strict=True)
        )

    return encoded(told), encoded([tuple(ATTRIBUTES)] * len(indices))


def config_for(agents: EncodedAgents, fusion: str = "concatenation") -> AdapterConfig:
    """The pocket adapter's shapes: two tokens a part, every cross-attention block of the pocket UNet."""
    sem, core, img = (part.shape[-1] for part in agents.parts)
    blocks = UNET.attention_blocks()
    return AdapterConfig(sem, core, img, CLIP_G.hidden, UNET.context_dim, blocks=blocks, fusion=fusion)


def train(
    folder: Path,
    config: LoopConfig = CONFIG,
    seed: int = 66,
    fusion: str = "concatenation",
    out: Path = FILE,
    from_shipped: bool = False,
    strength: float = STRENGTH,
) -> None:
    """Train, and put the adapter into a preference checkpoint that has the alignment: the shipped one, or `out`.

    from_shipped: go on from the adapter that the checkpoint has, with its fusion, for training that goes over several
    sittings. strength: what the written adapter's 1 is of the trained one's.
    """
    torch.manual_seed(seed)
    # Subjects that the evaluation's prompts name are left out: an adapter has to serve prompts it never saw.
    world, pool, encode = World.load(), latent_pool(folder).without((*HELD_BACK, *FOR_CHOOSING)), text.load()
    agents = encoded_agents(folder, AGENTS, seed)
    unet = quicken(generator.load())
    if from_shipped:
        adapter = load_preference_model(out).require("adapter").requires_grad_(True)
    else:
        adapter = PreferenceAdapter(config_for(agents, fusion))
        adapter.alignment.load_state_dict(read_checkpoint(out).part("alignment"))
        warm_start(adapter, unet, encode, agents, world)

    known = text.Remembered(encode)

    def batches(step: int) -> tuple[UserParts, Painted]:
        rng = np.random.default_rng([seed, step])
        rows = rng.integers(len(agents), size=BATCH)
        liked = liked_posters(world, pool, agents.utilities[rows], rng)
        prompt, fuller = captions_for(pool.indices[liked], rng, known)
        latents = pool.latents[torch.from_numpy(liked)].float()
        return agents.users(torch.from_numpy(rows)), Painted(latents, *prompt, generator.sizes(BATCH), fuller)

    training = AdapterTraining(config, BATCH, shift=generator.SHIFT, fusion=fusion, target="caption", seed=seed)
    adapter = train_adapter(adapter, unet, generator.schedule(), batches, training, folder / "adapter")
    about = {"steps": config.steps, "batch": BATCH, "agents": AGENTS, "seed": seed, "target": training.target}
    write_adapter(out, strengthened(adapter, strength), **about, strength=strength)


@torch.no_grad()
def strengthened(adapter: PreferenceAdapter, strength: float) -> PreferenceAdapter:
    """Itself, every value scaled: the branch is linear in its values, and its 1 is then what `strength` was."""
    for block in adapter.blocks.values():
        block.to_v.weight.mul_(strength)
    return adapter
