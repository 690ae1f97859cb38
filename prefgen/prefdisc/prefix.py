"""The history's prefix: what PrefDisc keeps of [P_v; history], so that a candidate costs its own tokens only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from transformers import DynamicCache


@dataclass(frozen=True, eq=False)
class HistoryPrefix:
    """Keys and values of every layer for one history, detached, and the states that a user embedding pools.

    keys_values: for each layer (K, V), each (1, heads, length, head_dim). hidden: (layers + 1, D), the last history
    token's state after the embedding and after each layer. digest: the history's, or "" for no history.
    """

    keys_values: tuple[tuple[Tensor, Tensor], ...]
    hidden: Tensor
    length: int
    digest: str = ""

    @property
    def bytes(self) -> int:
        """What the keys and values take."""
        return sum(tensor.nbytes for pair in self.keys_values for tensor in pair)

    def to(self, device: torch.device | str) -> HistoryPrefix:
        """The same on another device; itself where it is there already. Ordinary tensors in every mode."""
        if self.hidden.device == torch.device(device):
            return self
        with torch.inference_mode(False):
            layers = tuple((keys.to(device), values.to(device)) for keys, values in self.keys_values)
            return HistoryPrefix(layers, self.hidden.to(device), self.length, self.digest)

    def cache(self, batch: int) -> DynamicCache | None:
        """A fresh cache of this prefix for `batch` candidates, which copies it for each as soon as it is used: for an
        attention that cannot share it. The prefix itself is never written to."""
        from transformers import DynamicCache

        if not self.length:
            return None
        return DynamicCache([(k.expand(batch, -1, -1, -1), v.expand(batch, -1, -1, -1)) for k, v in self.keys_values])
