"""Stage B: the decoder learns to read a taste out of a history. Stage 2: the preference tokens alone.

The paper's loss alone stays at the population's mean for long, so it warms up: two auxiliary readers learn what the
simulator knows (what each label says of its image, and the taste so far), and choices are taken in expectation.
Both fade out; the last part of the training is the paper's loss on sampled choices, and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from prefgen.losses import base_loss, contrastive_preference, expected_over_choice
from prefgen.prefdisc.model import PackedStates, PrefDisc
from train.data.agents import World
from train.loop import LoopConfig, fit
from train.pocket.prefdisc.shapes import WIDTH
from train.pocket.prefdisc.sight import PosterTable
from train.pocket.prefdisc.users import PAIRS, Users, draw_users, signed_attributes

# Few targets and many users: reading a taste is learned from users, and a target costs a pair of turns.
AFTER = [0, 1, 3, 5, 8, 8]
# What a label says of its image is to be known early, and the taste one layer before the last: the target's own turn
# can still read it there, and the embedding's `sem` layers hold it.
BINDING_LAYER, TASTE_LAYER = 2, 4
AUXILIARY = 3.0  # weight of the two readers' losses at the start
SEED = 32


@dataclass(frozen=True)
class TasteConfig:
    """users: in a batch. warmed: the share of the steps after which the auxiliary losses are gone and choices are
    sampled. loop: stage B; tokens: stage 2. Defaults ours."""

    users: int = 32
    warmed: float = 0.7
    loop: LoopConfig = LoopConfig(steps=1500, learning_rate=1.5e-3, warmup=100, ema=0.99)  # noqa: RUF009 (frozen)
    tokens: LoopConfig = LoopConfig(steps=80, learning_rate=1e-3, warmup=10, ema=0.9)  # noqa: RUF009 (frozen)


class Taste(nn.Module):
    """PrefDisc with the auxiliary readers, which are thrown away afterwards."""

    def __init__(self, prefdisc: PrefDisc, values: int) -> None:
        super().__init__()
        self.prefdisc = prefdisc
        self.binding = nn.Linear(WIDTH, values)
        self.taste = nn.Linear(WIDTH, values)

    def forward(self, users: Users) -> tuple[PackedStates, Tensor, Tensor]:
        """The packed states; what each history label says of its image, and the taste so far: (B, n, 2, 24) each."""
        states = self.prefdisc(users.packed, users.features, every_layer=True)
        rows = torch.arange(len(users.features))[:, None, None]
        marks = users.packed.marks
        binding = self.binding(F.layer_norm(states.layers[BINDING_LAYER][rows, marks], (WIDTH,)))
        taste = self.taste(F.layer_norm(states.layers[TASTE_LAYER][rows, marks], (WIDTH,)))
        return states, binding, taste


def train_taste(prefdisc: PrefDisc, table: PosterTable, world: World, folder: Path, config: TasteConfig) -> PrefDisc:
    """Train the decoder and the preference tokens, then the tokens alone; return the averaged weights."""
    torch.manual_seed(SEED)
    inner = prefdisc.base.model
    prefdisc.requires_grad_(True)
    for part in (inner.vision_model, inner.connector):
        part.requires_grad_(False)
    model = Taste(prefdisc, world.scale.size)
    last = int(config.warmed * config.loop.steps)

    def stage_one(model: nn.Module, step: int) -> dict[str, Tensor]:
        return _losses(model, _users(prefdisc, table, world, config, SEED, step), max(0.0, 1 - step / last))

    prefdisc = fit(model, stage_one, config.loop, folder / "taste").prefdisc
    prefdisc.requires_grad_(False)
    prefdisc.tokens.requires_grad_(True)
    model = Taste(prefdisc, world.scale.size)
    for reader in (model.binding, model.taste):
        reader.requires_grad_(False)

    def stage_two(model: nn.Module, step: int) -> dict[str, Tensor]:
        return _losses(model, _users(prefdisc, table, world, config, SEED + 1, step), 0.0)

    return fit(model, stage_two, config.tokens, folder / "tokens").prefdisc


def _users(prefdisc: PrefDisc, table: PosterTable, world: World, config: TasteConfig, seed: int, step: int) -> Users:
    return draw_users(prefdisc.turns, table, world, config.users, AFTER, np.random.default_rng([seed, step]))


def _losses(model: nn.Module, users: Users, warmth: float) -> dict[str, Tensor]:
    """L_all = L_base + L_CP (METHOD.md section 2), and while `warmth` > 0 the auxiliary losses with that weight."""
    states, binding, taste = model(users)
    sampled = users.chosen.float()
    probability = users.probability if warmth else sampled
    losses = {"preference": _preference_loss(model.prefdisc, states, users, probability)}
    if warmth:
        losses["binding"] = F.mse_loss(binding, signed_attributes(users.history))
        losses["taste"] = F.mse_loss(taste, users.taste[:, None, None].expand_as(taste))
    total = losses["preference"] + AUXILIARY * warmth * sum(v for k, v in losses.items() if k != "preference")
    return {"loss": total, **losses, **_accuracies(states, users)}


def _preference_loss(prefdisc: PrefDisc, states: PackedStates, users: Users, probability: Tensor) -> Tensor:
    rows = torch.arange(len(users.features))[:, None, None]
    vocabulary = prefdisc.base.lm_head(states.hidden[rows, users.packed.reads]).flatten(0, 1)
    labels = states.logits.flatten(0, 1)
    weight = probability.flatten()
    over_vocabulary = partial(base_loss, labels=prefdisc.turns.label_ids)
    base = expected_over_choice(over_vocabulary, vocabulary[:, 0], vocabulary[:, 1], weight)
    return base + expected_over_choice(contrastive_preference, labels[:, 0], labels[:, 1], weight)


def _accuracies(states: PackedStates, users: Users) -> dict[str, Tensor]:
    """Accuracy with all pairs and with none. Users are new in every batch, so these are not of training users."""
    q = states.logits.detach().softmax(-1)[..., 0]
    right = ((q[..., 0] > q[..., 1]) == users.chosen).float()
    after = torch.tensor(AFTER)
    return {f"accuracy_{k}": right[:, after == k].mean() for k in (PAIRS, 0)}
