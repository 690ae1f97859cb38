"""Stage B: trains the decoder to infer a taste from a history, and then only the preference tokens (stage 2).

With the paper's loss alone, predictions stay at the population mean for a long time. So the training starts with a
warm-up. Auxiliary heads (auxiliary_heads.py) predict hidden variables of the simulator, and the loss is the expected
value over choices. The auxiliary losses fade out, and the last part of the training uses only the paper's loss on
sampled choices.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from prefgen.losses import expected_pair_loss, preference_loss
from prefgen.prefdisc.model import PackedStates, PrefDisc
from train.data.agents import World, training_users
from train.loop import LoopConfig, device_of, fit
from train.pocket.prefdisc.auxiliary_heads import AuxiliaryHeads, auxiliary_losses
from train.pocket.prefdisc.user_batches import PAIRS, UserBatch, sample_user_batch
from train.pocket.prefdisc.vision_training import PosterTable
from train.prefdisc.ablation_modes import MODES, Mode

# Number of history pairs before each target. A batch has few targets per user but many users, because the model learns
# tastes from different users.
AFTER = [0, 2, 4, 8, 8]
# The first steps use short histories. With these, the model quickly learns to attend from a turn to its own image.
SHORT, AFTER_SHORT = 2, [0, 1, 2]
SEED = 32


@dataclass(frozen=True)
class DecoderConfig:
    """Settings of stage B and stage 2. The defaults are our choice.

    Attributes:
        users: Number of users per batch.
        short: Number of initial steps with short histories.
        wordless: Initial share of the training without prompts, which is faster. Afterwards, every second step has
            prompts.
        auxiliary: Weight of the auxiliary losses.
        cooling, warmed: Shares of the training at which the auxiliary losses start to fade out, and at which they reach
            zero. After `warmed`, the loss uses sampled choices.
        loop: Length and optimiser of stage B.
        tokens: Length and optimiser of stage 2.
        mode: Parts of the method to use.
        history: Whether histories are used. False trains only on targets, as PickScore does.
        seed: Random seed.
    """

    users: int = 24
    short: int = 100
    wordless: float = 0.62
    cooling: float = 0.6
    warmed: float = 0.85
    auxiliary: float = 4.0
    loop: LoopConfig = LoopConfig(steps=12_000, learning_rate=2e-3, warmup=100, ema=0.995)  # noqa: RUF009 (frozen)
    tokens: LoopConfig = LoopConfig(steps=100, learning_rate=5e-4, warmup=10, ema=0.9)  # noqa: RUF009 (frozen)
    mode: Mode = MODES["full"]
    history: bool = True
    seed: int = SEED


class DecoderTraining(nn.Module):
    """PrefDisc with auxiliary heads, which are discarded after training."""

    def __init__(self, prefdisc: PrefDisc, world: World) -> None:
        super().__init__()
        self.prefdisc = prefdisc
        self.readers = AuxiliaryHeads(world)

    def forward(self, users: UserBatch) -> tuple[PackedStates, dict[str, Tensor]]:
        """Return the packed states and the outputs of the auxiliary heads."""
        states = self.prefdisc(users.packed, users.features, every_layer=True)
        return states, self.readers(states.layers, users.packed)


def train_decoder(
    prefdisc: PrefDisc, table: PosterTable, world: World, folder: Path, config: DecoderConfig
) -> PrefDisc:
    """Train the decoder with the preference tokens, then only the tokens. Returns the model with averaged weights."""
    torch.manual_seed(config.seed)
    inner = prefdisc.base.model
    prefdisc.requires_grad_(True)
    for part in (inner.vision_model, inner.connector):
        part.requires_grad_(False)
    pool = training_users(world)

    def draw(step: int, salt: int, pairs: int, after: list[int], words: bool) -> UserBatch:
        rng = np.random.default_rng([config.seed + salt, step])
        utilities = pool[rng.integers(len(pool), size=config.users)]
        if not config.history:
            pairs, after = 0, [0] * len(after)
        return sample_user_batch(
            prefdisc.template, table, world, utilities, after, rng, pairs, words and config.mode.prompts
        )

    def stage_one(model: nn.Module, step: int) -> dict[str, Tensor]:
        done = step / config.loop.steps
        warmth = min(1.0, max(0.0, (config.warmed - done) / (config.warmed - config.cooling)))
        short = step < config.short
        words = done >= config.wordless and step % 2 == 1
        users = draw(step, 0, SHORT if short else PAIRS, AFTER_SHORT if short else AFTER, words)
        return _losses(model, users.to(device_of(model)), config, warmth)

    def stage_two(model: nn.Module, step: int) -> dict[str, Tensor]:
        return _losses(model, draw(step, 1, PAIRS, AFTER, True).to(device_of(model)), config, 0.0)

    model = fit(DecoderTraining(prefdisc, world), stage_one, config.loop, folder / "taste")
    if not config.mode.tokens:
        return model.prefdisc
    model.requires_grad_(False)
    model.prefdisc.tokens.requires_grad_(True)
    return fit(model, stage_two, config.tokens, folder / "tokens").prefdisc


def _losses(model: nn.Module, users: UserBatch, config: DecoderConfig, warmth: float) -> dict[str, Tensor]:
    """Return the mode's loss (paper index section 2). If `warmth` > 0, add the auxiliary losses with this weight."""
    states, read = model(users)
    probability = users.probability if warmth else users.chosen.float()
    losses = {"preference": _preference_loss(model.prefdisc, states, users, probability, config.mode)}
    if warmth:
        losses |= auxiliary_losses(read, users)
    total = losses["preference"] + config.auxiliary * warmth * sum(v for k, v in losses.items() if k != "preference")
    return {"loss": total, **losses, **_accuracies(states, users)}


def _preference_loss(
    prefdisc: PrefDisc, states: PackedStates, users: UserBatch, probability: Tensor, mode: Mode
) -> Tensor:
    rows = torch.arange(len(users.features), device=users.features.device)[:, None, None]
    vocabulary = prefdisc.base.lm_head(states.hidden[rows, users.packed.prediction_positions]).flatten(0, 1)
    loss = partial(preference_loss, labels=prefdisc.template.label_ids, contrastive=mode.contrastive)
    return expected_pair_loss(loss, vocabulary[:, 0], vocabulary[:, 1], probability.flatten())


def _accuracies(states: PackedStates, users: UserBatch) -> dict[str, Tensor]:
    """Return the accuracy on the first target (no history) and on the last target (full history), for the log."""
    q = states.logits.detach().softmax(-1)[..., 0]
    right = ((q[..., 0] > q[..., 1]) == users.chosen).float()
    return {"accuracy_none": right[:, 0].mean(), "accuracy_all": right[:, -1].mean()}
