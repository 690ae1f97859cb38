"""Defines the compared conditions: equal prompts and seeds, different embeddings, wordings or adapters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from prefgen.adapter import PARTS, UserParts
from train.evaluate import plotting

OWN, OTHER, OFF = "own", "other", "off"
"""Source of a part of the user embedding: the agent, another agent, or none (strength 0)."""


@dataclass(frozen=True)
class Condition:
    """A condition of the comparison, one row of the tables.

    Attributes:
        label: Label in tables.
        sem: Source of the `sem` part: OWN, OTHER or OFF.
        core: Source of the `core` part.
        img: Source of the `img` part.
        written: Whether the agent's favourite attributes are appended to the prompt.
        adapter: Name of an adapter variant (adapter_variants.py); None uses the checkpoint's adapter.
        fewer: Whether fewer agents are used, because only the difference from another row matters.
        colour: Colour in figures.
    """

    label: str
    sem: str = OWN
    core: str = OWN
    img: str = OWN
    written: bool = False
    adapter: str | None = None
    fewer: bool = False
    colour: str = plotting.OURS

    @property
    def personal(self) -> bool:
        """Return whether any part of a user embedding is used."""
        return any(getattr(self, part) != OFF for part in PARTS)

    def strengths(self, strength: float) -> dict[str, float]:
        """Return the strength of each part: `strength` times the node's `sem_strength`, and so on."""
        return {part: 0.0 if getattr(self, part) == OFF else strength for part in PARTS}

    def users(self, users: UserParts, others: np.ndarray) -> UserParts:
        """Return the user embeddings of n agents. `others`, (n,), has the index of the agent to compare each with."""
        return UserParts(
            **{
                part: getattr(users, part)[others] if getattr(self, part) == OTHER else getattr(users, part)
                for part in PARTS
            }
        )


NO_USER = {"sem": OFF, "core": OFF, "img": OFF}
PEER, CONTROL = {"colour": plotting.PEER}, {"colour": plotting.CONTROL}
SWAPS = {part: f"swap_{part}" for part in PARTS}
CONDITIONS: dict[str, Condition] = {
    "plain": Condition("prompt only (plain)", **NO_USER, **PEER),
    "written": Condition("agent's true favourites appended to the prompt", **NO_USER, **PEER, written=True),
    "img_only": Condition("PrefGen, img only", sem=OFF, core=OFF, **PEER),
    "full": Condition("PrefGen: sem, core and img"),
    "other": Condition("PrefGen, another agent's embedding", OTHER, OTHER, OTHER, **CONTROL),
    **{
        name: Condition(f"PrefGen, another agent's {part}", **{part: OTHER}, fewer=True, **CONTROL)
        for part, name in SWAPS.items()
    },
}
ABLATIONS: dict[str, Condition] = {
    "mmd": Condition("alignment with MMD, parts concatenated", adapter="mmd", fewer=True),
    "mse": Condition("alignment with MSE", adapter="mse", fewer=True),
    "cosine": Condition("alignment with cosine", adapter="cosine", fewer=True),
    "attention": Condition("parts fused by attention", adapter="attention", fewer=True),
}
"""Adapters trained only for this comparison, with the same small number of steps."""
ALL_CONDITIONS = CONDITIONS | ABLATIONS
