"""Trains the alignment: the MLP that takes `sem` into the pooled CLIP text space, by MMD (METHOD.md section 3)."""

from __future__ import annotations

from collections.abc import Sequence
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

SIZES = [len(ATTRIBUTES[name]) for name in TASTE]
CONFIG = LoopConfig(steps=800, learning_rate=1e-3, weight_decay=1e-3, ema=0.99)
USERS, POSTERS, CROWDS, BATCH, AT_ONCE = 3000, 1200, 4, 96, 50


def train(folder: Path, config: LoopConfig = CONFIG, seed: int = 51, users: int = USERS) -> dict[str, float]:
    """Train, put the alignment into the shipped checkpoint, return how well it finds held-out users' own attributes.

    MMD compares crowds: of everybody at once, it would be as content with each user at another's place. So the crowds
    are of users who like the same value of an attribute best, each compared with those users' own texts (default
    ours: the paper does not say how users keep theirs).
    """
    torch.manual_seed(seed)
    world, file = World.load(), FOLDER / "preference.safetensors"
    sem, text, best = embedded_users(load_preference_model("pocket").prefdisc, world, users, seed)
    # In units of the texts' own spread; MMD itself does not care, but the weights' start and decay do.
    middle, spread = text.mean(0), text.std(0).mean()
    texts, held = (text - middle) / spread, users // 6

    def loss_of(model: Alignment, step: int) -> dict[str, Tensor]:
        generator = generator_of(seed, step)
        rows = [_crowd(best[held:], generator) + held for _ in range(CROWDS)]
        mapped = ((model(sem[torch.cat(rows)]) - middle) / spread).split([len(crowd) for crowd in rows])
        losses = [mmd(ours, texts[crowd]) for ours, crowd in zip(mapped, rows, strict=True)]
        return {"loss": torch.stack(losses).mean()}

    alignment = fit(Alignment(AlignmentConfig(sem.shape[1], CLIP_G.hidden)), loss_of, config, folder / "align")
    with torch.no_grad():
        found = retrieval(alignment(sem[:held]), text[:held])
    about = {"alignment": found | {"seed": seed, "steps": config.steps}}
    write_part(file, "alignment", asdict(alignment.config), alignment.state_dict(), training=about)
    return found


def _crowd(best: Tensor, generator: torch.Generator) -> Tensor:
    """Up to `BATCH` rows of users who like the same value of an attribute best. best (N, 5): each one's favourites."""
    name = int(torch.randint(best.shape[1], (1,), generator=generator))
    leader = int(torch.randint(len(best), (1,), generator=generator))
    alike = (best[:, name] == best[leader, name]).nonzero()[:, 0]
    # A crowd of one cannot be compared; the second may then be anybody.
    alike = alike if len(alike) > 1 else torch.tensor([leader, (leader + 1) % len(best)])
    return alike[torch.randperm(len(alike), generator=generator)[:BATCH]]


@torch.no_grad()
def embedded_users(prefdisc: PrefDisc, world: World, count: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Fresh users' `sem` after eight pairs (count, D), the text embedding of what each likes best (count, 128), and
    what that is: the index of the favourite value of each taste attribute (count, 5)."""
    table = look(prefdisc, *draw_posters(POSTERS, seed, "train"), views=0)
    rng, sem, best = np.random.default_rng(seed), [], []
    for _ in range(0, count, AT_ONCE):
        utilities, _ = world.sample(AT_ONCE, rng)
        users = draw_users(prefdisc.turns, table, world, utilities, [PAIRS], rng)
        states = torch.stack(prefdisc(users.packed, users.features, every_layer=True).layers)
        last = states[:, torch.arange(AT_ONCE), users.packed.marks[:, -1, -1]]
        sem.append(last[list(prefdisc.spec.sem_layers)].mean(0))
        best.append(torch.stack([part.argmax(1) for part in users.taste.split(SIZES, dim=1)], dim=1))
    best = torch.cat(best)[:count]
    captions = [favourites(row) for row in best.tolist()]
    text = torch.cat([encode_text(captions[i : i + 256]) for i in range(0, count, 256)])
    return torch.cat(sem)[:count], text, best


def favourites(best: Sequence[int]) -> str:
    """Favourite values, by index, as a caption: "over the sea, neon colours, striped sky, centred, flat"."""
    return ", ".join(list(ATTRIBUTES[name].values())[value] for name, value in zip(TASTE, best, strict=True))


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
