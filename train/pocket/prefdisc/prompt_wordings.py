"""PrefDisc learns that a prompt in other words asks for the same: "a poster of a cactus" as "a cactus".

Stage B's prompts are bare, and a word beside them upset the reading: within one prompt its score followed utility by
.73 (correlation on drawn posters), and by .58 with "a poster of" before it. Here the decoder learns to be, with any
wording, what it was with the bare prompts; the eyes and the preference tokens stay.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from prefgen.checkpoint.preference_model import load_preference_model
from prefgen.prefdisc.model import PackedStates, PrefDisc
from prefgen.prefdisc.packing import Packed
from train.data.agents import World, training_users
from train.data.posters import Wordings
from train.loop import LoopConfig, device_of, fit
from train.pocket.prefdisc.decoder_training import AFTER
from train.pocket.prefdisc.user_batches import PAIRS, UserBatch, sample_user_batch
from train.pocket.prefdisc.validation import validate
from train.pocket.prefdisc.vision_training import PosterTable, draw_posters, encode_posters
from train.settings import settings_digest

SEED = 34


@dataclass(frozen=True)
class PromptWordingsConfig:
    """posters: drawn once. users: in a batch. wordless: every so many steps no turn has a prompt. likeness: the weight
    of the states' distance, in their own variance, beside the labels' divergence. Defaults ours."""

    posters: int = 12_000
    users: int = 24
    wordless: int = 5
    likeness: float = 0.5
    wordings: Wordings = Wordings()  # noqa: RUF009 (frozen)
    loop: LoopConfig = LoopConfig(  # noqa: RUF009 (frozen)
        steps=1200, learning_rate=4e-4, weight_decay=0.0, warmup=50, ema=0.99, save_every=200
    )


CONFIG = PromptWordingsConfig()


def adapt_to_wordings(
    prefdisc: PrefDisc, table: PosterTable, world: World, folder: Path, config: PromptWordingsConfig = CONFIG
) -> PrefDisc:
    """Train the decoder against what it was; return averaged weights."""
    torch.manual_seed(SEED)
    before = copy.deepcopy(prefdisc).requires_grad_(False).eval()
    prefdisc.requires_grad_(False)
    prefdisc.base.model.text_model.requires_grad_(True)
    pool = training_users(world)

    def loss_of(model: nn.Module, step: int) -> dict[str, Tensor]:
        rng, device = np.random.default_rng([SEED, step, 1]), device_of(model)
        before.to(device)
        words = step % config.wordless != 0
        bare, worded = (
            _draw(before, table, world, pool, config.users, step, words, reword).to(device)
            for reword in (None, lambda prompt: config.wordings.of(prompt, rng))
        )
        with torch.no_grad():
            wanted = before(bare.packed, bare.features, every_layer=True)
        made = model(worded.packed, worded.features, every_layer=True)
        told = wanted.logits.softmax(-1)
        labels = F.kl_div(made.logits.log_softmax(-1), told, reduction="none").sum(-1).mean()
        states = relative_distance(_where_read(made, worded.packed, model), _where_read(wanted, bare.packed, before))
        return {"loss": labels + config.likeness * states, "labels": labels, "states": states}

    return fit(prefdisc, loss_of, config.loop, folder)


def _draw(
    prefdisc: PrefDisc,
    table: PosterTable,
    world: World,
    pool: np.ndarray,
    count: int,
    step: int,
    words: bool,
    reword: Callable[[str], str] | None,
) -> UserBatch:
    """The users of a step, the same ones each time, with prompts as `reword` puts them."""
    rng = np.random.default_rng([SEED, step])
    utilities = pool[rng.integers(len(pool), size=count)]
    return sample_user_batch(prefdisc.turns, table, world, utilities, AFTER, rng, PAIRS, words, reword)


def _where_read(states: PackedStates, packed: Packed, prefdisc: PrefDisc) -> Tensor:
    """Of every layer, the states that something is read from: the history's last token, which is a user's embedding,
    and where each target's labels are predicted: (layers, B, 1 + 2 T, D)."""
    last = packed.history_ends(prefdisc.turns)
    places = torch.cat([last[:, None], packed.reads.flatten(1)], dim=1)
    users = torch.arange(len(places), device=places.device)[:, None]
    return torch.stack([layer[users, places] for layer in states.layers[1:]])


def relative_distance(made: Tensor, wanted: Tensor) -> Tensor:
    """The mean square distance of states (layers, ...), each layer's over its variance."""
    flat = [x.float().flatten(1) for x in (made, wanted)]
    return ((flat[0] - flat[1]).square().mean(1) / flat[1].var(1)).mean()


def train(folder: Path, config: PromptWordingsConfig = CONFIG) -> dict[str, float]:
    """Adapt the shipped PrefDisc, and write it where it was; returns the accuracies on validation users and posters."""
    from train.pocket.prefdisc import SHIPPED, export

    model, world = load_preference_model("pocket"), World.load()
    prefdisc = model.require("prefdisc")
    where = folder / f"worded-{settings_digest({'reading': model.reading})}"
    table = encode_posters(prefdisc, *draw_posters(config.posters, SEED, "train", where / "drawn.npz"), views=1)
    prefdisc = adapt_to_wordings(prefdisc, table, world, where)
    found = validate(prefdisc, world)
    export(prefdisc, SHIPPED, found)
    return found
