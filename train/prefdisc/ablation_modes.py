"""Defines the four modes of the ablation, which use different parts of the method (001 table 5)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mode:
    """Parts of the method. If all are False, the training equals ViPer's: cross-entropy on images and labels.

    Attributes:
        prompts: Whether turns contain their prompt.
        contrastive: Whether the contrastive loss L_CP is added to L_base.
        tokens: Whether preference tokens P_v precede the history.
    """

    prompts: bool
    contrastive: bool
    tokens: bool


MODES = {
    "base": Mode(prompts=False, contrastive=False, tokens=False),
    "prompt": Mode(prompts=True, contrastive=False, tokens=False),
    "contrastive": Mode(prompts=True, contrastive=True, tokens=False),
    "full": Mode(prompts=True, contrastive=True, tokens=True),
}
