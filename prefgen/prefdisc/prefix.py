"""The encoded history: keys and values of [P_v; history], so that scoring a candidate costs only its own tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from transformers import DynamicCache


@dataclass(frozen=True, eq=False)
class HistoryPrefix:
    """Keys and values of one history, detached, and the hidden states that a user embedding pools.

    Attributes:
        keys_values: (K, V) of each layer, each (1, kv_heads, length, head_dim).
        hidden: States of the last history token, (layers + 1, D): after the embedding and after each layer.
        length: Number of tokens, preference tokens included.
        digest: Digest of the history; "" if there is no history.
    """

    keys_values: tuple[tuple[Tensor, Tensor], ...]
    hidden: Tensor
    length: int
    digest: str = ""

    @property
    def nbytes(self) -> int:
        """Size of the keys and values."""
        return sum(tensor.nbytes for pair in self.keys_values for tensor in pair)

    def to(self, device: torch.device | str) -> HistoryPrefix:
        """Return the prefix on a device, as ordinary tensors even in inference mode."""
        if self.hidden.device == torch.device(device):
            return self
        with torch.inference_mode(False):
            layers = tuple((keys.to(device), values.to(device)) for keys, values in self.keys_values)
            return HistoryPrefix(layers, self.hidden.to(device), self.length, self.digest)

    def to_dynamic_cache(self, batch: int) -> DynamicCache | None:
        """Return a new transformers cache of this prefix, expanded to a batch of candidates; None if it is empty.

        For attention implementations that cannot share the prefix: the cache copies it for each candidate when it is
        first used, and never writes to it.
        """
        from transformers import DynamicCache

        if not self.length:
            return None
        return DynamicCache([(k.expand(batch, -1, -1, -1), v.expand(batch, -1, -1, -1)) for k, v in self.keys_values])
