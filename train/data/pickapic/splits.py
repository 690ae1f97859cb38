"""Splits users for training, validation and testing, and writes the listing."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np

from train.data.pickapic.ledger import Choice, Ledger
from train.data.user_sets import Pair, SetError, User, write_users

LEAST_PAIRS = 2  # one target and one history pair


@dataclass(frozen=True)
class SplitConfig:
    """Shares of the splits. The split of a user depends only on `seed` and the user's id.

    The defaults are close to the paper's 2,267 / 89 / 70 users. It does not say how many of the 70 were seen.

    Attributes:
        validation: Share of users for validation.
        test: Share of users for testing only (unseen).
        seen: Share of training users whose last prompts are held out for testing (seen).
        held_out: Share of the pairs of a seen user that is held out.
        seed: Random seed.
    """

    validation: float = 0.037
    test: float = 0.02
    seen: float = 0.009
    held_out: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        shares = (self.validation, self.test, self.seen, self.held_out)
        if min(shares) < 0 or max(sum(shares[:3]), self.held_out) >= 1:
            raise SetError(f"The shares {shares} leave no user to train on; expected sums below 1.")


def split_users(ledger: Ledger, folder: Path, at_least: int, config: SplitConfig) -> dict[str, Any]:
    """Write the listing, and return the numbers of dropped and remaining users, pairs and images.

    Raises:
        SetError: No user qualifies.
    """
    users = sorted(ledger.users(at_least), key=lambda user: hashlib.sha256(f"{config.seed}:{user}".encode()).digest())
    if not users:
        raise SetError(
            f"None of {ledger.all_users()} users has {at_least} distinct liked images. Use more shards, or a smaller "
            "--at-least."
        )
    dropped, counts_by_split = Counter(), {}
    write_users(folder, _counted(_lines(ledger, users, at_least, config, dropped), counts_by_split))
    names = ("ties", "unlabelled", "without_image_id", "duplicates")
    return {
        "dropped": {
            **{name: ledger.count(name) for name in names},
            "broken_images": ledger.broken_images(),
            "pairs_with_a_broken_image": ledger.broken_choices(),
            f"users_under_{at_least}_liked_images": ledger.all_users() - len(users),
            "pairs_with_an_image_of_the_training": dropped["pairs"],
            "users_left_with_too_few_pairs": dropped["users"],
        },
        **{
            what: {name: counts[what] for name, counts in counts_by_split.items()}
            for what in ("users", "pairs", "images")
        },
    }


def _lines(
    ledger: Ledger, users: list[str], at_least: int, config: SplitConfig, dropped: Counter[str]
) -> Iterator[User]:
    """Yield the training users first, so that their images are known when they occur in a test."""
    ends = [ceil(share * len(users)) for share in (config.validation, config.test, config.seen)]
    validation, test, rest = (part.tolist() for part in np.split(users, np.cumsum(ends[:2])))
    held = {}
    for i, user in enumerate(rest):
        choices = ledger.choices(user)
        if i < ends[2]:
            choices, held[user] = _hold_out(choices, config.held_out, at_least)
        yield _line(ledger, user, True, "train", choices)
    parts = [(user, True, "test") for user in held]
    parts += [(user, False, "validation") for user in validation] + [(user, False, "test") for user in test]
    for user, seen, split in parts:
        choices = held[user] if seen else ledger.choices(user)
        fresh = [c for c in choices if "train" not in (ledger.split_of(c.liked), ledger.split_of(c.disliked))]
        dropped["pairs"] += len(choices) - len(fresh)
        if len(fresh) >= LEAST_PAIRS:
            yield _line(ledger, user, seen, split, fresh)
        elif choices:
            dropped["users"] += 1


def _hold_out(choices: list[Choice], share: float, at_least: int) -> tuple[list[Choice], list[Choice]]:
    """Hold out the last prompts of a user, about a share of the pairs, unless too few liked images would remain."""
    prompts = list(dict.fromkeys(choice.prompt for choice in reversed(choices)))
    held: set[str] = set()
    for prompt in prompts:
        if sum(choice.prompt in held for choice in choices) >= max(share * len(choices), LEAST_PAIRS):
            break
        held.add(prompt)
    remaining = [choice for choice in choices if choice.prompt not in held]
    if len({choice.liked for choice in remaining}) < at_least:
        return choices, []
    return remaining, [choice for choice in choices if choice.prompt in held]


def _line(ledger: Ledger, user: str, seen: bool, split: str, choices: list[Choice]) -> User:
    for choice in choices:
        ledger.use(choice.liked, split)
        ledger.use(choice.disliked, split)
    pairs = (Pair(ledger.file_of(c.liked), ledger.file_of(c.disliked), c.prompt) for c in choices)
    return User(user, seen, split, tuple(pairs))


def _counted(lines: Iterator[User], counts_by_split: dict[str, Counter[str]]) -> Iterator[User]:
    for line in lines:
        name = line.split if line.split != "test" else f"test_{'seen' if line.seen else 'unseen'}"
        counts_by_split.setdefault(name, Counter()).update(users=1, pairs=len(line.pairs), images=len(line.images))
        yield line
