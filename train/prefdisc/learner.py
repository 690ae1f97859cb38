"""What learns: PrefDisc as transformers' Trainer runs it, from a batch to both targets' logits in one forward."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from prefgen.prefdisc.model import PrefDisc
from prefgen.prefdisc.packing import Packed


class Learner(nn.Module):
    """PrefDisc on packed batches. over: "vocabulary" gives the whole vocabulary's logits, "labels" those of + and -."""

    def __init__(self, prefdisc: PrefDisc, over: str = "vocabulary") -> None:
        super().__init__()
        self.prefdisc = prefdisc
        self.over = over

    @property
    def labels(self) -> tuple[int, int]:
        """The columns of + and - in what `forward` gives."""
        return self.prefdisc.turns.label_ids if self.over == "vocabulary" else (0, 1)

    def forward(
        self,
        packed: Packed,
        counts: tuple[int, ...],
        images: Tensor | None = None,
        features: Tensor | None = None,
    ) -> Tensor:
        """Logits (B, 2, V) at the last position of each sequence's liked and disliked target.

        The history is read once for both. counts: how many images each sequence has. images (N, 3, H, W) or features
        (N, latents, D): of all sequences, one after the other, each in its own order.
        """
        packed = packed.to(self.prefdisc.device)
        if features is None:
            features = self.prefdisc.features(images)
        # Only where histories are of unequal lengths is anything padded.
        states = self.prefdisc(packed, pad_sequence(features.split(counts), batch_first=True))
        if self.over == "labels":
            return states.logits[:, 0].float()
        rows = torch.arange(len(states.hidden), device=states.hidden.device)[:, None]
        # In float32: a vocabulary's cross-entropy is the one sum here that half precision spoils.
        return self.prefdisc.base.lm_head(states.hidden[rows, packed.reads[:, 0]]).float()


def trainable(module: nn.Module) -> dict[str, Tensor]:
    """The parameters that learn, by name."""
    return {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}
