"""PrefDisc with less of the method: the ablation's rows and the baselines, all trained alike.

Every variant starts from the same eyes, warms up with the same readers, and sees as many users as the others.
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
    """mode: what of the method is on. tokens: preference tokens, where the mode has them. history: False reads
    targets alone, as PickScore does."""

    mode: Mode
    tokens: int = SPEC.num_tokens
    history: bool = True

    @property
    def num_tokens(self) -> int:
        """Preference tokens in front."""
        return self.tokens if self.mode.tokens else 0


VARIANTS: dict[str, Variant] = {
    **{name: Variant(mode) for name, mode in MODES.items()},
    "no_history": Variant(MODES["contrastive"], history=False),
    **{f"tokens_{count}": Variant(MODES["full"], count) for count in TOKEN_COUNTS},
}
# ViPer's way: no prompt, no L_CP, no tokens.
VARIANTS["viper"] = VARIANTS["base"]


def load_shipped_vision(folder: Path, posters: int = 12_000) -> tuple[PrefDisc, PosterTable]:
    """The shipped PrefDisc, whose eyes variants see with, and what it sees of training posters (kept in `folder`)."""
    prefdisc = load_preference_model(POCKET).prefdisc
    images, attributes = draw_posters(posters, SEED, "train", folder / "posters.npz")
    return prefdisc, encode_posters(prefdisc, images, attributes, views=1)


def train_variant(
    name: str, seed: int, folder: Path, steps: int, eyes: PrefDisc, table: PosterTable, users: int = DecoderConfig.users
) -> PrefDisc:
    """Train a variant for `steps` steps, resuming from `folder`.

    eyes, table: whose tower and connector it sees with, and what they saw of training posters (`shipped_eyes`).
    """
    variant = VARIANTS[name]
    short = min(DecoderConfig.short, steps // 8)
    config = DecoderConfig(users=users, short=short, mode=variant.mode, history=variant.history, seed=seed)
    loop = replace(config.loop, steps=steps, ema=min(config.loop.ema, max(0.0, 1 - 10 / steps)))
    torch.manual_seed(seed)
    prefdisc = new_prefdisc(variant.num_tokens)
    seeing = {n: t for n, t in eyes.state_dict().items() if ".vision_model." in n or ".connector." in n}
    prefdisc.load_state_dict(seeing, strict=False)
    tokens = replace(config.tokens, steps=max(1, steps // 100))
    return train_decoder(prefdisc, table, World.load(), folder, replace(config, loop=loop, tokens=tokens))
