"""Makes PrefDisc robust to prompt wordings such as "a poster of a cactus" instead of "a cactus".

Stage B uses bare prompts, and additional words made scores less accurate. Among drawn posters with the same prompt, the
correlation between score and utility was .73 with bare prompts, and .58 with "a poster of" before the prompt. Here the
decoder learns to compute the same states for any wording as for the bare prompt. The vision tower and the preference
tokens stay frozen.
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
from prefgen.prefdisc.packing import PackedBatch
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
    """Settings of the training. The defaults are our choice.

    Attributes:
        posters: Number of drawn posters.
        users: Number of users per batch.
        wordless: Every `wordless`-th step has no prompts.
        likeness: Weight of the relative distance between states. The divergence of the label probabilities has weight
            1.
        wordings: Distribution of the wordings.
        loop: Length and optimiser.
    """

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
    """Train the decoder to match its own states for bare prompts. Returns the model with averaged weights."""
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
            bare_states = before(bare.packed, bare.features, every_layer=True)
        worded_states = model(worded.packed, worded.features, every_layer=True)
        target_probabilities = bare_states.logits.softmax(-1)
        labels = F.kl_div(worded_states.logits.log_softmax(-1), target_probabilities, reduction="none").sum(-1).mean()
        distance = relative_distance(
            _used_states(worded_states, worded.packed, model), _used_states(bare_states, bare.packed, before)
        )
        return {"loss": labels + config.likeness * distance, "labels": labels, "states": distance}

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
    """Sample the users of a step. They depend only on the step. `reword` rewords their prompts."""
    rng = np.random.default_rng([SEED, step])
    utilities = pool[rng.integers(len(pool), size=count)]
    return sample_user_batch(prefdisc.template, table, world, utilities, AFTER, rng, PAIRS, words, reword)


def _used_states(states: PackedStates, packed: PackedBatch, prefdisc: PrefDisc) -> Tensor:
    """Return the states of each layer at the positions that PrefGen reads: (layers, B, 1 + 2 T, D).

    These positions are the last history token, which provides the user embedding, and the label of every target.
    """
    last = packed.history_end_positions(prefdisc.template)
    places = torch.cat([last[:, None], packed.prediction_positions.flatten(1)], dim=1)
    users = torch.arange(len(places), device=places.device)[:, None]
    return torch.stack([layer[users, places] for layer in states.layers[1:]])


def relative_distance(states: Tensor, targets: Tensor) -> Tensor:
    """Return the mean squared distance of states (layers, ...), divided by the variance of each layer."""
    flat = [x.float().flatten(1) for x in (states, targets)]
    return ((flat[0] - flat[1]).square().mean(1) / flat[1].var(1)).mean()


def train(folder: Path, config: PromptWordingsConfig = CONFIG) -> dict[str, float]:
    """Adapt the shipped PrefDisc in place, and return its accuracies on validation users and posters."""
    from train.pocket.prefdisc import SHIPPED, export

    model, world = load_preference_model("pocket"), World.load()
    prefdisc = model.require("prefdisc")
    state_folder = folder / f"worded-{settings_digest({'reading': model.encoder_fingerprint})}"
    table = encode_posters(prefdisc, *draw_posters(config.posters, SEED, "train", state_folder / "drawn.npz"), views=1)
    prefdisc = adapt_to_wordings(prefdisc, table, world, state_folder)
    accuracies = validate(prefdisc, world)
    export(prefdisc, SHIPPED, accuracies)
    return accuracies
