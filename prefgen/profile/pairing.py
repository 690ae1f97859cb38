"""From ratings to pairs, and which of them make the history: pure functions over what the ratings say."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from ..errors import ProfileError
from .images import LOOK_CELLS
from .ratings import Rating

DAY = 24 * 3600.0
SELECTION_RULES = ("latest", "diverse", "same prompt")
"""How pairs are chosen where there are more than asked for: the newest; those that look least alike; those whose two
images were made for one prompt before others."""


@dataclass(frozen=True)
class RatedPair:
    """A liked and a disliked image that are shown together."""

    liked: Rating
    disliked: Rating

    @property
    def prompt(self) -> str:
        """What they were made for; the liked image's where they differ and it has one."""
        return self.liked.prompt or self.disliked.prompt

    @property
    def shares_prompt(self) -> bool:
        """Both images were made for the same words: what is liked is then not the subject (default ours)."""
        return bool(self.liked.prompt) and self.liked.prompt == self.disliked.prompt

    @property
    def time(self) -> float:
        """When the choice was made: with the later rating of the two."""
        return max(self.liked.time, self.disliked.time)

    @property
    def line(self) -> int:
        """The later line of the two, for pairs of the same time."""
        return max(self.liked.line, self.disliked.line)

    @property
    def looks(self) -> tuple[str, str]:
        """Both images' looks."""
        return self.liked.look, self.disliked.look

    @property
    def images(self) -> tuple[str, str]:
        """Both images' digests."""
        return self.liked.image, self.disliked.image


@dataclass(frozen=True)
class LikedImage:
    """A liked image where nothing is disliked yet: chosen as pairs are."""

    liked: Rating
    shares_prompt = False

    prompt = property(lambda self: self.liked.prompt)
    time = property(lambda self: self.liked.time)
    line = property(lambda self: self.liked.line)
    looks = property(lambda self: (self.liked.look,))
    images = property(lambda self: (self.liked.image,))


Shown = TypeVar("Shown", RatedPair, LikedImage)


@dataclass(frozen=True)
class SelectionConfig:
    """Which pairs make a history. Raises ProfileError for values that choose nothing.

    most: pairs at most (method.md section 1: 8). rule: one of `RULES`. half_life: days after which a rating counts half
    when pairs are chosen, counted from the newest rating, so that a history does not change while nobody rates; 0: age
    does not count (defaults ours; the papers take all pairs of a user).
    """

    most: int = 8
    rule: str = SELECTION_RULES[0]
    half_life: float = 0.0

    def __post_init__(self) -> None:
        if self.most < 1 or self.rule not in SELECTION_RULES or not 0 <= self.half_life < float("inf"):
            raise ProfileError(
                f"Pairs were to be chosen by {self.rule!r}, {self.most} at most, half-life {self.half_life:g} days; "
                f"expected one of {', '.join(SELECTION_RULES)}, 1 or more, and no days below 0: correct the choice."
            )


def derive_pairs(ratings: Iterable[Rating]) -> list[RatedPair]:
    """Pairs that use every rating, oldest first; none where nothing is liked, or nothing disliked.

    The newest like comes first and takes the dislike nearest in time of those with its prompt; likes that are left take
    the nearest of any. Each dislike is taken once. Then what is left on one side shares what the other has, as near as
    can be: three likes and one dislike make three pairs.
    """
    liked, disliked = [], []
    for rating in ratings:
        (liked if rating.liked else disliked).append(rating)
    if not liked or not disliked:
        return []
    pairs, likes = _matched(liked, disliked, by_prompt=True)
    taken = {pair.disliked.image for pair in pairs}
    more, likes = _matched(likes, [rating for rating in disliked if rating.image not in taken], by_prompt=False)
    pairs += more
    taken |= {pair.disliked.image for pair in more}
    pairs += [RatedPair(like, other) for like, other in _shared(likes, disliked)]
    spare = [rating for rating in disliked if rating.image not in taken]
    pairs += [RatedPair(other, dislike) for dislike, other in _shared(spare, liked)]
    return sorted(pairs, key=_age)


def liked_images(ratings: Iterable[Rating]) -> list[LikedImage]:
    """The liked images, oldest first."""
    return sorted((LikedImage(rating) for rating in ratings if rating.liked), key=_age)


def select(found: Sequence[Shown], selection: SelectionConfig) -> list[Shown]:
    """At most `selection.most` of what was found, oldest first, as PrefDisc reads them.

    `latest` takes the newest. `same prompt` takes pairs of one prompt before others, or, where age counts, as if they
    were a half-life younger. `diverse` starts with the newest, and then always takes the one whose look is farthest
    from all that are taken, times its weight by age.
    """
    newest_first = sorted(found, key=_age, reverse=True)
    if len(found) <= selection.most:
        return newest_first[::-1]
    if selection.rule == "latest":
        return newest_first[: selection.most][::-1]
    weights = _weights(newest_first, selection.half_life)
    if selection.rule == "same prompt":
        counted = weights * np.array([1.0 if shown.shares_prompt else 0.5 for shown in newest_first])
        order = np.argsort(-counted, kind="stable")[: selection.most]
    else:
        order = _spread(np.array([_vector(shown.looks) for shown in newest_first]), weights, selection.most)
    return [newest_first[place] for place in sorted(order, reverse=True)]


def _age(shown: RatedPair | LikedImage) -> tuple[float, int]:
    return shown.time, shown.line


def _weights(newest_first: Sequence[Shown], half_life: float) -> np.ndarray:
    times = np.array([shown.time for shown in newest_first])
    return np.exp2((times - times[0]) / (half_life * DAY)) if half_life else np.ones(len(times))


def _spread(vectors: np.ndarray, weights: np.ndarray, most: int) -> list[int]:
    """Farthest-point selection (Gonzalez 1985), weighted; of equals the first."""
    chosen = [0]
    nearest = np.linalg.norm(vectors - vectors[0], axis=1)
    free = np.ones(len(vectors), bool)
    while len(chosen) < most:
        free[chosen[-1]] = False
        chosen.append(int(np.argmax(np.where(free, nearest * weights, -1.0))))
        nearest = np.minimum(nearest, np.linalg.norm(vectors - vectors[chosen[-1]], axis=1))
    return chosen


def _vector(looks: tuple[str, ...]) -> np.ndarray:
    """Looks as one vector; zeros for one that is missing or broken."""
    width = 3 * LOOK_CELLS**2
    parts = []
    for look in looks:
        known = len(look) == width and set(look) <= set("0123456789abcdef")
        parts.append([int(digit, 16) for digit in look] if known else [0] * width)
    return np.array(parts, dtype=np.float32).reshape(-1)


class _Nearest:
    """Ratings by time, to find and take the one nearest to another."""

    def __init__(self, ratings: Iterable[Rating] = ()) -> None:
        self._sorted: list[tuple[float, int, Rating]] = []
        for rating in ratings:
            self.add(rating)

    def add(self, rating: Rating) -> None:
        insort(self._sorted, (rating.time, rating.line, rating))

    def place(self, time: float) -> int | None:
        """Where the nearest is; the later of two that are as near."""
        if not self._sorted:
            return None
        right = bisect_left(self._sorted, (time,))
        around = [place for place in (right, right - 1) if 0 <= place < len(self._sorted)]
        return min(around, key=lambda place: abs(self._sorted[place][0] - time))

    def take(self, time: float) -> Rating | None:
        place = self.place(time)
        return None if place is None else self._sorted.pop(place)[2]

    def see(self, time: float) -> Rating | None:
        place = self.place(time)
        return None if place is None else self._sorted[place][2]


def _matched(likes: list[Rating], dislikes: list[Rating], by_prompt: bool) -> tuple[list[RatedPair], list[Rating]]:
    """Pairs in which each rating is once, and the likes that are left."""
    waiting = _by_prompt(dislikes, by_prompt)
    pairs, left = [], []
    for like in sorted(likes, key=lambda rating: (rating.time, rating.line), reverse=True):
        other = waiting[like.prompt if by_prompt else ""].take(like.time)
        if other is None:
            left.append(like)
        else:
            pairs.append(RatedPair(like, other))
    return pairs, left


def _shared(alone: list[Rating], others: list[Rating]) -> list[tuple[Rating, Rating]]:
    """For each rating that is left alone the nearest of the others, of its prompt where there is one."""
    same, every = _by_prompt(others, True), _Nearest(others)
    return [(rating, same[rating.prompt].see(rating.time) or every.see(rating.time)) for rating in alone]


def _by_prompt(ratings: list[Rating], apart: bool) -> dict[str, _Nearest]:
    found: dict[str, _Nearest] = defaultdict(_Nearest)
    for rating in ratings:
        found[rating.prompt if apart else ""].add(rating)
    return found
