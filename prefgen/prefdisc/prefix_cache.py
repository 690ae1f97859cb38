"""Caches encoded histories, so that recently used ones are not encoded again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable

import torch

from .prefix import HistoryPrefix


class PrefixCache:
    """A least-recently-used cache of history prefixes. The newest one is kept whatever its size.

    Prefixes are stored in CPU memory, because ComfyUI's memory management would not know of them on the GPU. Copying
    one back takes less time than encoding one image (8 pairs of Idefics2-8B: 218 MB in half precision).

    Args:
        max_entries: Maximum number of prefixes. Our choice.
        max_bytes: Maximum size of all prefixes together. Our choice.
    """

    def __init__(self, max_entries: int = 16, max_bytes: int = 2**30) -> None:
        self.max_entries = max_entries
        self.max_bytes = max_bytes
        self._prefixes: OrderedDict[Hashable, HistoryPrefix] = OrderedDict()

    def __len__(self) -> int:
        return len(self._prefixes)

    def get(self, key: Hashable, device: torch.device, encode: Callable[[], HistoryPrefix]) -> HistoryPrefix:
        """Return the prefix of a key on a device. Call `encode` if it is not cached.

        Args:
            key: Everything that the prefix depends on: the history's digest and the dtype of the weights.
            device: Device of the result.
            encode: Computes the prefix.
        """
        if key not in self._prefixes:
            prefix = encode()
            self._prefixes[key] = prefix.to("cpu")
            while len(self) > 1 and self._is_over_limit():
                self._prefixes.popitem(last=False)
            return prefix
        self._prefixes.move_to_end(key)
        return self._prefixes[key].to(device)

    def _is_over_limit(self) -> bool:
        return len(self) > self.max_entries or sum(p.nbytes for p in self._prefixes.values()) > self.max_bytes
