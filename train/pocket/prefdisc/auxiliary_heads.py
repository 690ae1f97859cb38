"""Auxiliary linear heads that predict hidden variables of the simulator from hidden states during the warm-up.

Each head trains its layer to compute an intermediate result of the ideal observer, which the next layer needs: the
attribute values of an image, the evidence of a pair for each group of users, the probability of each group after all
pairs so far, and the taste.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from prefgen.prefdisc.packing import PackedBatch
from train.data.agents import World
from train.pocket.prefdisc.architecture import WIDTH
from train.pocket.prefdisc.user_batches import UserBatch, one_hot_values

# Layer that each head reads. In layer 2, a turn represents the attribute values of its image, independent of the label.
# Values with the label's sign would need a multiplication, and with them the training stalled for hundreds of steps. In
# layer 3, the second turn of a pair compares its image with the first turn's image. In layer 4, all pairs are combined.
# Because this is one layer before the last, the target's turn can still attend to the result, and the `sem` layers of
# the embedding contain it.
LAYERS = {"shown": 2, "evidence": 3, "belief": 4, "taste": 4}


class AuxiliaryHeads(nn.Module):
    """One linear head for each entry of `LAYERS`."""

    def __init__(self, world: World) -> None:
        super().__init__()
        sizes = {"shown": world.scale.size, "evidence": world.groups, "belief": world.groups, "taste": world.scale.size}
        self.readers = nn.ModuleDict({name: nn.Linear(WIDTH, size) for name, size in sizes.items()})

    def forward(self, layers: tuple[Tensor, ...], packed: PackedBatch) -> dict[str, Tensor]:
        """Predict the simulator's hidden variables from the states of every layer, each (B, S, D).

        Returns:
            "shown": the taste values of each image, read at the label positions of all n + T pairs, (B, n + T, 2, 24).
            The other variables, read at the second label of each history pair, (B, n, size).
        """
        rows = torch.arange(len(packed.prediction_positions), device=packed.prediction_positions.device)[:, None, None]
        labels = torch.cat([packed.label_positions, packed.prediction_positions], dim=1)
        ends = packed.label_positions[..., 1:]
        states = {name: layers[at][rows, labels if name == "shown" else ends] for name, at in LAYERS.items()}
        read = {name: self.readers[name](F.layer_norm(state, (WIDTH,))) for name, state in states.items()}
        return {name: values if name == "shown" else values[:, :, 0] for name, values in read.items()}


def auxiliary_losses(read: dict[str, Tensor], users: UserBatch) -> dict[str, Tensor]:
    """Return the loss of each head. If there is no history, return only the loss of "shown"."""
    values = one_hot_values(np.concatenate([users.history, users.targets], axis=1))
    losses = {"shown": F.mse_loss(read["shown"], values.to(read["shown"].device))}
    if users.evidence.shape[1]:
        known = users.evidence.cumsum(1).softmax(-1)
        losses["evidence"] = 0.1 * F.mse_loss(read["evidence"], users.evidence)
        losses["belief"] = 0.1 * F.kl_div(read["belief"].log_softmax(-1), known, reduction="none").sum(-1).mean()
        losses["taste"] = F.mse_loss(read["taste"], users.taste[:, None].expand_as(read["taste"]))
    return losses
