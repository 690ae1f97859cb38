"""Trials: a user's history in a random order, and one of their pairs to be judged.

A trial is drawn from nothing but the seed and its number in the run. So a run that was killed and resumed, or that is
shared by any number of processes, sees what an unbroken run of one process sees.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from torch.utils.data import Dataset

from train.prefdisc.config import DataConfig
from train.prefdisc.dataset import PairFiles, UserPairs


@dataclass(frozen=True)
class Trial:
    """history: the pairs that tell the taste, in the order they are read. target: liked and disliked, to be told apart
    by it; none of its images is in the history."""

    user: str
    history: tuple[PairFiles, ...]
    target: PairFiles


class Trials(Dataset):
    """`count` trials. Every pair of every user is the target once before any is again; histories are new each time.

    users: from `read_users`. prompts: whether pairs keep theirs (else "").
    """

    def __init__(
        self, users: Sequence[UserPairs], config: DataConfig, count: int, seed: int, prompts: bool = True
    ) -> None:
        self.users = users
        self.config = config
        self.count = count
        self.seed = seed
        self.prompts = prompts
        self.places = [(i, j) for i, user in enumerate(users) for j in range(len(user.pairs))]
        self._order = lru_cache(maxsize=2)(self._ordered)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> Trial:
        if not 0 <= number < self.count:
            raise IndexError(number)
        epoch, place = divmod(number, len(self.places))
        user, pair = self.places[self._order(epoch)[place]]
        person, rng = self.users[user], np.random.default_rng([self.seed, 1, number])
        target = person.pairs[pair]
        # Pairs of one prompt often share an image (the winner stays on): its label in the history would be the answer.
        known = [p for p in person.pairs if not set(p.images) & set(target.images)]
        wanted = rng.integers(self.config.history + 1) if self.config.random_length else self.config.history
        chosen = rng.permutation(len(known))[:wanted]
        return Trial(person.user, tuple(self._shown(known[i]) for i in chosen), self._shown(target))

    def _shown(self, pair: PairFiles) -> PairFiles:
        return pair if self.prompts else PairFiles(pair.liked, pair.disliked)

    def _ordered(self, epoch: int) -> np.ndarray:
        return np.random.default_rng([self.seed, 0, epoch]).permutation(len(self.places))

    def __getstate__(self) -> dict:
        # A cache cannot be sent to a loader's worker process.
        return {name: value for name, value in self.__dict__.items() if name != "_order"}

    def __setstate__(self, state: dict) -> None:
        self.__dict__ |= state
        self._order = lru_cache(maxsize=2)(self._ordered)
