"""What learns: the adapter, from a batch of users to keys and values, apart from the alignments, which stay."""

from __future__ import annotations

from torch import Tensor, nn

from prefgen.adapter import PreferenceAdapter, UserParts
from prefgen.adapter.model import KeysValues


class AdapterLearner(nn.Module):
    """The adapter's trained weights. The UNet is not in here: it is neither trained, nor averaged, nor saved.

    Its forward ends at keys and values, through which the gradient comes back from the UNet: accelerate may wrap it for
    several devices, and gathers gradients as it should.
    """

    def __init__(self, adapter: PreferenceAdapter) -> None:
        super().__init__()
        self.adapter = adapter
        for alignment in (adapter.alignment, adapter.core_alignment):
            if alignment is not None:
                alignment.requires_grad_(False)

    def forward(self, users: UserParts, present: Tensor) -> KeysValues:
        """Keys and values (B, T, width) of every block, for users (B) of whom some are dropped.

        present (B,): where False, all tokens of a row are zeroed. Keys and values without a bias then add nothing to
        the image, whatever they have learnt, and get no gradient.
        """
        return self.adapter.keys_values(self.adapter.user_tokens(users) * present[:, None, None])
