"""What is compared: every row paints the same prompts from the same seeds, otherwise conditioned."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from prefgen.adapter import PARTS, UserParts
from train.evaluate import style

OWN, OTHER, OFF = "own", "other", "off"
"""Whose part of a user embedding goes in: the agent's, another agent's, or nobody's (its strength is 0)."""


@dataclass(frozen=True)
class Row:
    """label: what tables call it. sem, core, img: whose each part is. written: the agent's attributes are in the
    prompt. adapter: another than the checkpoint's, by the name of its training (variants.py). fewer: of fewer agents,
    where a difference to another row is asked for and not the row's own height."""

    label: str
    sem: str = OWN
    core: str = OWN
    img: str = OWN
    written: bool = False
    adapter: str | None = None
    fewer: bool = False
    colour: str = style.OURS

    @property
    def personal(self) -> bool:
        """Whether there is a user at all."""
        return any(getattr(self, part) != OFF for part in PARTS)

    def strengths(self, strength: float) -> dict[str, float]:
        """Of each part, as the node's `strength` times its `sem_strength` and so on."""
        return {part: 0.0 if getattr(self, part) == OFF else strength for part in PARTS}

    def users(self, users: UserParts, others: np.ndarray) -> UserParts:
        """The embeddings that go in, for n agents. others (n,): the row of each one's other."""
        return UserParts(
            **{
                part: getattr(users, part)[others] if getattr(self, part) == OTHER else getattr(users, part)
                for part in PARTS
            }
        )


NOBODY = {"sem": OFF, "core": OFF, "img": OFF}
PEER, CONTROL = {"colour": style.PEER}, {"colour": style.CONTROL}
SWAPS = {part: f"swap_{part}" for part in PARTS}
ROWS: dict[str, Row] = {
    "plain": Row("the prompt alone", **NOBODY, **PEER),
    "written": Row("the agent's true favourites written behind the prompt", **NOBODY, **PEER, written=True),
    "img_only": Row("img alone", sem=OFF, core=OFF, **PEER),
    "full": Row("PrefGen: sem, core and img"),
    "other": Row("another agent's embedding", OTHER, OTHER, OTHER, **CONTROL),
    **{
        name: Row(f"PrefGen with another's {part}", **{part: OTHER}, fewer=True, **CONTROL)
        for part, name in SWAPS.items()
    },
}
ABLATION: dict[str, Row] = {
    "mmd": Row("alignment by MMD, parts concatenated", adapter="mmd", fewer=True),
    "mse": Row("alignment by MSE", adapter="mse", fewer=True),
    "cosine": Row("alignment by cosine", adapter="cosine", fewer=True),
    "attention": Row("parts fused by attention", adapter="attention", fewer=True),
}
"""Trained for this alone, each for the same few steps; compared with each other."""
EVERY = ROWS | ABLATION
