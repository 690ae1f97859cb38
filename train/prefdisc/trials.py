"""Samples trials: a random history of a user, and a different pair of the same user as the target.

A trial depends only on the seed and its number in the run. So a resumed run, or a run with several processes, sees the
same trials as an uninterrupted run with one process.
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
    """A history with a target.

    Attributes:
        user: Name of the user.
        history: History pairs in order.
        target: Pair whose preference is predicted. The history does not contain its images.
        swapped: For each history pair, whether its disliked image is read first. None uses the template's order.
    """

    user: str
    history: tuple[PairFiles, ...]
    target: PairFiles
    swapped: tuple[bool, ...] | None = None


class Trials(Dataset):
    """A dataset of trials. In each epoch every pair of every user is the target once, with a new history.

    Args:
        users: Users that `read_users` returns.
        config: Settings for drawing histories.
        count: Number of trials.
        seed: Random seed.
        prompts: Whether pairs keep their prompts. If False, the prompts are "".
    """

    def __init__(
        self, users: Sequence[UserPairs], config: DataConfig, count: int, seed: int, prompts: bool = True
    ) -> None:
        self.users = users
        self.config = config
        self.count = count
        self.seed = seed
        self.prompts = prompts
        self.targets = [(i, j) for i, user in enumerate(users) for j in range(len(user.pairs))]
        self._order = lru_cache(maxsize=2)(self._shuffle)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> Trial:
        if not 0 <= number < self.count:
            raise IndexError(number)
        epoch, position = divmod(number, len(self.targets))
        user_index, pair_index = self.targets[self._order(epoch)[position]]
        user, rng = self.users[user_index], np.random.default_rng([self.seed, 1, number])
        target = user.pairs[pair_index]
        # Pairs with the same prompt often share an image. The label of this image in the history would reveal the
        # answer.
        candidates = [p for p in user.pairs if not set(p.images) & set(target.images)]
        length = rng.integers(self.config.history + 1) if self.config.random_length else self.config.history
        chosen = rng.permutation(len(candidates))[:length]
        history = tuple(self._with_or_without_prompt(candidates[i]) for i in chosen)
        swapped = tuple((rng.random(len(history)) < 0.5).tolist()) if self.config.random_order else None
        return Trial(user.user, history, self._with_or_without_prompt(target), swapped)

    def _with_or_without_prompt(self, pair: PairFiles) -> PairFiles:
        return pair if self.prompts else PairFiles(pair.liked, pair.disliked)

    def _shuffle(self, epoch: int) -> np.ndarray:
        return np.random.default_rng([self.seed, 0, epoch]).permutation(len(self.targets))

    def __getstate__(self) -> dict:
        # The cache of `_order` cannot be pickled for a data loader's worker process.
        return {name: value for name, value in self.__dict__.items() if name != "_order"}

    def __setstate__(self, state: dict) -> None:
        self.__dict__ |= state
        self._order = lru_cache(maxsize=2)(self._shuffle)
