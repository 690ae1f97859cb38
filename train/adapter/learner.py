"""Wraps the adapter as a trainable module that maps a batch of users to keys and values."""

from __future__ import annotations

from torch import Tensor, nn

from prefgen.adapter import PreferenceAdapter, UserParts
from prefgen.adapter.model import KeysValues


class AdapterLearner(nn.Module):
    """The adapter with frozen alignments.

    The UNet is not part of the module, because the training does not update, average or save it. The module returns
    keys and values, and the gradient flows back from the UNet through them. So accelerate can wrap the module for
    several devices and still reduce its gradients correctly.
    """

    def __init__(self, adapter: PreferenceAdapter) -> None:
        super().__init__()
        self.adapter = adapter
        for alignment in (adapter.alignment, adapter.core_alignment):
            if alignment is not None:
                alignment.requires_grad_(False)

    def forward(self, users: UserParts, keep: Tensor) -> KeysValues:
        """Compute the keys and values of every block, each (B, T, width).

        Args:
            users: Embeddings of B users.
            keep: Boolean mask (B,). The tokens of rows with False are set to zero (user dropout). The projections have
                no bias, so these rows add nothing to the image and contribute no gradient.
        """
        return self.adapter.keys_values(self.adapter.user_tokens(users) * keep[:, None, None])
