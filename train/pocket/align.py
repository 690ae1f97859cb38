"""Trains the alignment: the MLP that takes `sem` into the pooled CLIP text space, by MMD (METHOD.md section 3)."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from prefgen.alignment import Alignment, AlignmentConfig
from prefgen.checkpoint import write_part
from prefgen.losses import mmd
from prefgen.pocket.shapes import CLIP_G, FOLDER
from prefgen.prefdisc.model import PrefDisc
from prefgen.preference import load_preference_model
from train.data.agents import World
from train.data.posters import ATTRIBUTES, TASTE
from train.loop import LoopConfig, fit, generator_of
from train.pocket.clip import encode_text
from train.pocket.prefdisc.sight import draw_posters, look
from train.pocket.prefdisc.users import PAIRS, draw_users

CONFIG = LoopConfig(steps=800, learning_rate=1e-3, weight_decay=1e-3, ema=0.99)
USERS, POSTERS, BATCH, AT_ONCE = 3000, 1200, 256, 50


def train(folder: Path, config: LoopConfig = CONFIG, seed: int = 51, users: int = USERS) -> dict[str, float]:
    """Train, put the alignment into the shipped checkpoint, return how well it finds held-out users' own attributes.

    MMD compares crowds: it would be as content with every user at another user's place. So the crowd of pairs
    (mapped `sem`, `sem`) is compared too, with that of (text, `sem`), in which a user keeps their own text (default
    ours: the paper does not say how users keep theirs).
    """
    torch.manual_seed(seed)
    world, file = World.load(), FOLDER / "preference.safetensors"
    sem, text = embedded_users(load_preference_model("pocket").prefdisc, world, users, seed)
    # In units of the crowd's own spread, so that the joint kernel weighs both halves alike.
    ours = (sem - sem.mean(0)) / sem.std(0).mean()
    theirs = (text - text.mean(0)) / text.std(0).mean()
    held = users // 6

    def loss_of(model: Alignment, step: int) -> dict[str, Tensor]:
        rows = held + torch.randint(users - held, (BATCH,), generator=generator_of(seed, step))
        mapped = (model(sem[rows]) - text.mean(0)) / text.std(0).mean()
        crowd = mmd(mapped, theirs[rows])
        pairs = mmd(torch.cat([mapped, ours[rows]], 1), torch.cat([theirs[rows], ours[rows]], 1))
        return {"loss": crowd + pairs, "crowd": crowd, "pairs": pairs}

    alignment = fit(Alignment(AlignmentConfig(sem.shape[1], CLIP_G.hidden)), loss_of, config, folder / "align")
    with torch.no_grad():
        found = retrieval(alignment(sem[:held]), text[:held])
    about = {"alignment": found | {"seed": seed, "steps": config.steps}}
    write_part(file, "alignment", asdict(alignment.config), alignment.state_dict(), training=about)
    return found


@torch.no_grad()
def embedded_users(prefdisc: PrefDisc, world: World, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Fresh users' `sem` after eight pairs, (count, D), and the text embedding of what each likes best (count, 128)."""
    table = look(prefdisc, *draw_posters(POSTERS, seed), views=0)
    rng, sem, captions = np.random.default_rng(seed), [], []
    for _ in range(0, count, AT_ONCE):
        users = draw_users(prefdisc.turns, table, world, AT_ONCE, [PAIRS], rng)
        states = torch.stack(prefdisc(users.packed, users.features, every_layer=True).layers)
        last = states[:, torch.arange(AT_ONCE), users.packed.marks[:, -1, -1]]
        sem.append(last[list(prefdisc.spec.sem_layers)].mean(0))
        captions += map(favourites, users.taste)
    return torch.cat(sem)[:count], torch.cat([encode_text(captions[i : i + 256]) for i in range(0, count, 256)])[:count]


def favourites(taste: Tensor) -> str:
    """The values a user likes best, as a caption: "over the sea, neon colours, striped sky, centred, flat"."""
    parts = taste.split([len(ATTRIBUTES[name]) for name in TASTE])
    best = [list(ATTRIBUTES[name].values())[int(part.argmax())] for name, part in zip(TASTE, parts, strict=True)]
    return ", ".join(best)


def retrieval(mapped: Tensor, text: Tensor) -> dict[str, float]:
    """How near each mapped user (N, D) is to their own text, against everybody else's.

    rank: the share of other users' texts that are farther from the user than their own (0.5 by chance); own, others:
    mean cosine to their own and to other users' texts, both less the crowd's mean.
    """
    mapped, text = F.normalize(mapped - text.mean(0), dim=-1), F.normalize(text - text.mean(0), dim=-1)
    cosine = mapped @ text.T
    own = cosine.diagonal()
    elsewhere = ~torch.eye(len(own), dtype=torch.bool)
    rank = (cosine < own[:, None])[elsewhere].float().mean()
    found = {"rank": rank, "own": own.mean(), "others": cosine[elsewhere].mean()}
    return {name: round(float(value), 4) for name, value in found.items()}
