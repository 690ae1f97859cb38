"""Trains variants of PrefDisc for the ablation and the baselines.

All variants start from the same vision tower, use the same auxiliary heads, and see the same number of users.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from prefgen.checkpoint.preference_model import POCKET, load_preference_model
from prefgen.prefdisc.model import PrefDisc
from train.data.agents import World
from train.pocket.prefdisc.architecture import SPEC, new_prefdisc
from train.pocket.prefdisc.decoder_training import DecoderConfig, train_decoder
from train.pocket.prefdisc.vision_training import SEED, PosterTable, draw_posters, encode_posters
from train.prefdisc.ablation_modes import MODES, Mode

TOKEN_COUNTS = (1, 2, 4, 8, 16)


@dataclass(frozen=True)
class Variant:
    """A variant of PrefDisc.

    Attributes:
        mode: Parts of the method to use.
        tokens: Number of preference tokens, if the mode has them.
        history: Whether histories are used. False scores targets without a history, as PickScore does.
    """

    mode: Mode
    tokens: int = SPEC.num_tokens
    history: bool = True

    @property
    def num_tokens(self) -> int:
        """Number of preference tokens."""
        return self.tokens if self.mode.tokens else 0


VARIANTS: dict[str, Variant] = {
    **{name: Variant(mode) for name, mode in MODES.items()},
    "no_history": Variant(MODES["contrastive"], history=False),
    **{f"tokens_{count}": Variant(MODES["full"], count) for count in TOKEN_COUNTS},
}
# ViPer uses no prompt, no L_CP and no tokens.
VARIANTS["viper"] = VARIANTS["base"]


def load_shipped_vision(folder: Path, posters: int = 12_000) -> tuple[PrefDisc, PosterTable]:
    """Load the shipped PrefDisc, and encode training posters with its vision tower (cached in `folder`)."""
    prefdisc = load_preference_model(POCKET).prefdisc
    images, attributes = draw_posters(posters, SEED, "train", folder / "posters.npz")
    return prefdisc, encode_posters(prefdisc, images, attributes, views=1)


def train_variant(
    name: str,
    seed: int,
    folder: Path,
    steps: int,
    vision: PrefDisc,
    table: PosterTable,
    users: int = DecoderConfig.users,
) -> PrefDisc:
    """Train a variant, or resume from `folder`.

    Args:
        name: Name of the variant.
        seed: Random seed.
        folder: Folder for states and logs.
        steps: Number of steps.
        vision: Model whose vision tower and connector are used (`load_shipped_vision`).
        table: Training posters encoded by that model.
        users: Number of users per batch.
    """
    variant = VARIANTS[name]
    short = min(DecoderConfig.short, steps // 8)
    config = DecoderConfig(users=users, short=short, mode=variant.mode, history=variant.history, seed=seed)
    loop = replace(config.loop, steps=steps, ema=min(config.loop.ema, max(0.0, 1 - 10 / steps)))
    torch.manual_seed(seed)
    prefdisc = new_prefdisc(variant.num_tokens)
    vision_weights = {n: t for n, t in vision.state_dict().items() if ".vision_model." in n or ".connector." in n}
    prefdisc.load_state_dict(vision_weights, strict=False)
    tokens = replace(config.tokens, steps=max(1, steps // 100))
    return train_decoder(prefdisc, table, World.load(), folder, replace(config, loop=loop, tokens=tokens))
