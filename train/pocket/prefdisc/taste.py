"""Stage B: the decoder learns to read a taste out of a history. Stage 2: the preference tokens alone.
Then the last layer alone learns on to judge by it, which leaves user embeddings as they are.

The paper's loss alone stays at the population's mean for long, so it warms up: three auxiliary readers learn, a layer
after the other, what the simulator knows (the values each turn shows; how often each was liked and disliked so far; the
taste), and choices are taken in expectation. All fade out; the last part of the training is the paper's loss on sampled
choices, and nothing else.
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
from train.pocket.prefdisc.users import PAIRS, Users, draw_users, shown_values, tally

# Few targets and many users: reading a taste is learnt from users, and a target costs a pair of turns.
AFTER = [0, 2, 4, 8, 8]
# The first steps have short histories: there a turn soon learns to attend to its own image.
SHORT, AFTER_SHORT = 2, [0, 1, 2]
# Which layer's states each reader reads. A turn first has to hold its image's values, whatever the label: asked for
# signed values at once, the layer would have to multiply, and stayed where it began for hundreds of steps. Attention to
# liked and to disliked turns then makes the tally; the taste is there one layer before the last, where the target's
# turn can still read it and the embedding's `sem` layers hold it.
READERS = {"shown": 2, "tally": 3, "taste": 4}
# Where the last layer learns to judge: mostly after long histories, which is how it will be used.
AFTER_LONG = [0, 2, 4, 6, 8, 8, 8, 8]
AUXILIARY = 4.0  # weight of the readers' losses, until they fade
SEED = 32


@dataclass(frozen=True)
class TasteConfig:
    """users: in a batch. short: the first steps, with short histories. wordless: the share of the steps, from the
    first, in which no turn has a prompt, so that turns are short and users many. cooling, warmed: the shares between
    which the auxiliary losses fade out; after that, choices are sampled. loop: stage B; tokens: stage 2; judgement: the
    last layer, with choices in expectation until `sampled` of its steps. Defaults ours.
    """

    users: int = 24
    short: int = 60
    wordless: float = 0.7
    cooling: float = 0.6
    warmed: float = 0.85
    loop: LoopConfig = LoopConfig(steps=1400, learning_rate=2e-3, warmup=50, ema=0.98)  # noqa: RUF009 (frozen)
    sampled: float = 0.7
    judgement: LoopConfig = LoopConfig(steps=1200, learning_rate=2e-3, warmup=30, ema=0.98)  # noqa: RUF009 (frozen)
    tokens: LoopConfig = LoopConfig(steps=80, learning_rate=1e-3, warmup=10, ema=0.9)  # noqa: RUF009 (frozen)


class Taste(nn.Module):
    """PrefDisc with the auxiliary readers, which are thrown away afterwards."""

    def __init__(self, prefdisc: PrefDisc, values: int) -> None:
        super().__init__()
        self.prefdisc = prefdisc
        self.readers = nn.ModuleDict({name: nn.Linear(WIDTH, values) for name in READERS})

    def forward(self, users: Users) -> tuple[PackedStates, dict[str, Tensor]]:
        """The packed states, and what each reader reads at every place where a label is or is to be predicted:
        (B, n + T, 2, 24), the history's places first."""
        states = self.prefdisc(users.packed, users.features, every_layer=True)
        rows = torch.arange(len(users.features))[:, None, None]
        places = torch.cat([users.packed.marks, users.packed.reads], dim=1)
        read = {
            name: self.readers[name](F.layer_norm(states.layers[layer][rows, places], (WIDTH,)))
            for name, layer in READERS.items()
        }
        return states, read


def train_taste(prefdisc: PrefDisc, table: PosterTable, world: World, folder: Path, config: TasteConfig) -> PrefDisc:
    """Train the decoder and the preference tokens, the tokens alone, then the last layer; return averaged weights."""
    torch.manual_seed(SEED)
    inner = prefdisc.base.model
    prefdisc.requires_grad_(True)
    for part in (inner.vision_model, inner.connector):
        part.requires_grad_(False)
    model, turns = Taste(prefdisc, world.scale.size), prefdisc.turns

    def stage_one(model: nn.Module, step: int) -> dict[str, Tensor]:
        done = step / config.loop.steps
        warmth = min(1.0, max(0.0, (config.warmed - done) / (config.warmed - config.cooling)))
        pairs = SHORT if step < config.short else PAIRS
        rng = np.random.default_rng([SEED, step])
        after = AFTER_SHORT if pairs == SHORT else AFTER
        words = done >= config.wordless
        return _losses(model, draw_users(turns, table, world, config.users, after, rng, pairs, words), warmth)

    prefdisc = fit(model, stage_one, config.loop, folder / "taste").prefdisc
    prefdisc.requires_grad_(False)
    prefdisc.tokens.requires_grad_(True)
    model = Taste(prefdisc, world.scale.size)
    model.readers.requires_grad_(False)

    def stage_two(model: nn.Module, step: int) -> dict[str, Tensor]:
        rng = np.random.default_rng([SEED + 1, step])
        return _losses(model, draw_users(turns, table, world, config.users, AFTER, rng), 0.0)

    prefdisc = fit(model, stage_two, config.tokens, folder / "tokens").prefdisc
    return train_judgement(prefdisc, table, world, folder, config)


def train_judgement(
    prefdisc: PrefDisc, table: PosterTable, world: World, folder: Path, config: TasteConfig
) -> PrefDisc:
    """Train the last layer, the norm after it and the vocabulary matrix with the paper's loss; all else stays."""
    prefdisc.requires_grad_(False)
    text = prefdisc.base.model.text_model
    for part in (text.layers[-1], text.norm, prefdisc.base.lm_head):
        part.requires_grad_(True)
    model = Taste(prefdisc, world.scale.size)
    model.readers.requires_grad_(False)

    def loss_of(model: nn.Module, step: int) -> dict[str, Tensor]:
        rng = np.random.default_rng([SEED + 2, step])
        users = draw_users(prefdisc.turns, table, world, config.users, AFTER_LONG, rng)
        states, _ = model(users)
        soft = step < config.sampled * config.judgement.steps
        probability = users.probability if soft else users.chosen.float()
        return {"loss": _preference_loss(model.prefdisc, states, users, probability), **_accuracies(states, users)}

    return fit(model, loss_of, config.judgement, folder / "judgement").prefdisc


def _losses(model: nn.Module, users: Users, warmth: float) -> dict[str, Tensor]:
    """L_all = L_base + L_CP (METHOD.md section 2), and while `warmth` > 0 the auxiliary losses with that weight."""
    states, read = model(users)
    probability = users.probability if warmth else users.chosen.float()
    losses = {"preference": _preference_loss(model.prefdisc, states, users, probability)}
    if warmth:
        pairs = users.history.shape[1]
        told, taste = read["tally"][:, :pairs], read["taste"][:, :pairs]
        shown = shown_values(np.concatenate([users.history, users.targets], axis=1))
        losses["shown"] = F.mse_loss(read["shown"], shown)
        losses["tally"] = F.mse_loss(told, tally(users.history))
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
    after = torch.tensor(next(layout for layout in (AFTER, AFTER_SHORT, AFTER_LONG) if len(layout) == right.shape[1]))
    return {"accuracy_all": right[:, after == after.max()].mean(), "accuracy_none": right[:, after == 0].mean()}
