"""Encoded histories, kept: a history that was read once is not read again while it is among the last few."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable

import torch

from .prefix import HistoryPrefix


class KeptPrefixes:
    """The most recently used prefixes, at most `most` and `most_bytes` of them; the newest stays however large it is.

    They are kept off the accelerator, where whoever manages its memory would not know of them: 8 pairs of Idefics2-8B
    are 218 MB in half precision, which come back in less time than one image takes to read. Defaults ours.
    """

    def __init__(self, most: int = 16, most_bytes: int = 2**30) -> None:
        self.most = most
        self.most_bytes = most_bytes
        self._kept: OrderedDict[Hashable, HistoryPrefix] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: Hashable, device: torch.device, read: Callable[[], HistoryPrefix]) -> HistoryPrefix:
        """The prefix of `key` on `device`; `read` makes it where it is not kept.

        key: all that the prefix depends on: the history's digest, and the type that the weights compute in.
        """
        if key not in self._kept:
            prefix = read()
            self._kept[key] = prefix.to("cpu")
            while len(self) > 1 and (
                len(self) > self.most or sum(p.bytes for p in self._kept.values()) > self.most_bytes
            ):
                self._kept.popitem(last=False)
            return prefix
        self._kept.move_to_end(key)
        return self._kept[key].to(device)
