"""The alignment: an MLP that takes the user embedding's `sem` part into CLIP text space (method.md section 3)."""

from __future__ import annotations

from dataclasses import dataclass

from .mlp import Perceptron


@dataclass(frozen=True)
class AlignmentConfig:
    """Shapes of an alignment.

    sem_dim: width of PrefDisc's hidden states; text_dim: width of the pooled CLIP text space (SDXL's bigG: 1280).
    hidden_dim: width between the layers (default ours; the paper gives none). layers: linear layers (the paper's 6).
    """

    sem_dim: int
    text_dim: int
    hidden_dim: int = 256
    layers: int = 6


class Alignment(Perceptron):
    """`sem` (B, sem_dim) -> CLIP text space (B, text_dim). Trained with `losses.mmd`; see train/pocket/align.py."""

    def __init__(self, config: AlignmentConfig) -> None:
        super().__init__(config.sem_dim, config.hidden_dim, config.text_dim, config.layers)
        self.config = config
