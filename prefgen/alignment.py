"""The alignment: an MLP from the `sem` part of a user embedding to CLIP text space (docs/paper-index.md, section 3)."""

from __future__ import annotations

from dataclasses import dataclass

from .mlp import MLP


@dataclass(frozen=True)
class AlignmentConfig:
    """Shapes of an alignment.

    Attributes:
        sem_dim: Width of PrefDisc's hidden states.
        text_dim: Width of the pooled CLIP text space (1280 for SDXL's bigG).
        hidden_dim: Width between the layers (our choice; the paper gives none).
        layers: Number of linear layers (6 in the paper).
    """

    sem_dim: int
    text_dim: int
    hidden_dim: int = 256
    layers: int = 6


class Alignment(MLP):
    """Maps `sem` (B, sem_dim) to CLIP text space (B, text_dim). Trained with ``losses.mmd`` (train/pocket/align.py)."""

    def __init__(self, config: AlignmentConfig) -> None:
        super().__init__(config.sem_dim, config.hidden_dim, config.text_dim, config.layers)
        self.config = config
