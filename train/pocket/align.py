"""Trains the pocket alignment on simulated users."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from prefgen.checkpoint.file import write_part
from prefgen.checkpoint.preference_model import load_preference_model
from prefgen.pocket.shapes import FOLDER
from prefgen.prefdisc.model import PrefDisc
from train.align.config import AlignConfig
from train.align.fit import train_alignment
from train.align.user_table import UserTable
from train.data.agents import World
from train.data.posters import ATTRIBUTES, TASTE
from train.loop import LoopConfig
from train.pocket.clip import encode_text
from train.pocket.prefdisc.user_batches import PAIRS, sample_user_batch
from train.pocket.prefdisc.vision_training import draw_posters, encode_posters

SIZES = [len(ATTRIBUTES[name]) for name in TASTE]
FILE = FOLDER / "preference.safetensors"
CONFIG = LoopConfig(steps=800, learning_rate=1e-3, weight_decay=1e-3, ema=0.99)
USERS, POSTERS, AT_ONCE = 3000, 1200, 50


def train(
    folder: Path,
    config: LoopConfig = CONFIG,
    seed: int = 51,
    users: int = USERS,
    objective: str = "mmd",
    out: Path = FILE,
) -> dict[str, float]:
    """Train the alignment, write it into a checkpoint, and return its metrics on held-out users.

    Args:
        folder: Folder for states and logs.
        config: Length and optimiser.
        seed: Random seed.
        users: Number of simulated users.
        objective: "mmd", or a different objective for the ablation.
        out: The checkpoint.
    """
    torch.manual_seed(seed)
    table = embedded_users(load_preference_model("pocket").prefdisc, World.load(), users, seed)
    alignment, metrics = train_alignment(table, AlignConfig(config, objective=objective, seed=seed), folder / "align")
    summary = {"alignment": metrics | {"seed": seed, "steps": config.steps}}
    write_part(out, "alignment", asdict(alignment.config), alignment.state_dict(), training=summary)
    return metrics


@torch.no_grad()
def embedded_users(prefdisc: PrefDisc, world: World, count: int, seed: int) -> UserTable:
    """Sample users, and return their embeddings after eight pairs, their text embeddings and their favourite values."""
    posters = encode_posters(prefdisc, *draw_posters(POSTERS, seed, "train"), views=0)
    rng, sem, core, best = np.random.default_rng(seed), [], [], []
    for _ in range(0, count, AT_ONCE):
        utilities, _ = world.sample(AT_ONCE, rng)
        users = sample_user_batch(prefdisc.template, posters, world, utilities, [PAIRS], rng)
        states = torch.stack(prefdisc(users.packed, users.features, every_layer=True).layers)
        last = states[:, torch.arange(AT_ONCE), users.packed.label_positions[:, -1, -1]]
        sem.append(last[list(prefdisc.spec.sem_layers)].mean(0))
        core.append(last[list(prefdisc.spec.core_layers)].mean(0))
        best.append(torch.stack([part.argmax(1) for part in users.taste.split(SIZES, dim=1)], dim=1))
    best = torch.cat(best)[:count]
    captions = [favourites(row) for row in best.tolist()]
    text = torch.cat([encode_text(captions[i : i + 256]) for i in range(0, count, 256)])
    return UserTable(torch.cat(sem)[:count], torch.cat(core)[:count], text, best)


def favourites(best: Sequence[int]) -> str:
    """Return a caption for the indices of favourite values, such as "over the sea, neon colours, centred, flat"."""
    return ", ".join(list(ATTRIBUTES[name].values())[value] for name, value in zip(TASTE, best, strict=True))
