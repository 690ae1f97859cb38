"""The ablation's four modes: what of the method is on (001 table 5)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mode:
    """prompts: turns name their prompt. contrastive: L_CP is added to L_base. tokens: preference tokens P_v stand in
    front. With all three off it is ViPer's way: images and labels, cross-entropy, nothing else."""

    prompts: bool
    contrastive: bool
    tokens: bool


MODES = {
    "base": Mode(prompts=False, contrastive=False, tokens=False),
    "prompt": Mode(prompts=True, contrastive=False, tokens=False),
    "contrastive": Mode(prompts=True, contrastive=True, tokens=False),
    "full": Mode(prompts=True, contrastive=True, tokens=True),
}
