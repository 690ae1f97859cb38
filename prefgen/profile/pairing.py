"""Derives pairs from ratings, and selects which pairs make a history. Pure functions; no image is opened."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from ..errors import ProfileError
from ..validation import require_choice, require_number
from .images import GRID_SIZE
from .ratings import Rating

SECONDS_PER_DAY = 24 * 3600.0
SELECTION_RULES = ("latest", "diverse", "same prompt")


@dataclass(frozen=True)
class RatedPair:
    """A liked and a disliked image, as their ratings."""

    liked: Rating
    disliked: Rating

    @property
    def prompt(self) -> str:
        """The prompt of the liked image, or of the disliked one where the liked one has none."""
        return self.liked.prompt or self.disliked.prompt

    @property
    def shares_prompt(self) -> bool:
        """True if both images were made for the same prompt, so that the subject cannot explain the choice."""
        return bool(self.liked.prompt) and self.liked.prompt == self.disliked.prompt

    @property
    def time(self) -> float:
        """Time of the later rating."""
        return max(self.liked.time, self.disliked.time)

    @property
    def line(self) -> int:
        """Line of the later rating, which orders pairs of the same time."""
        return max(self.liked.line, self.disliked.line)

    @property
    def color_grids(self) -> tuple[str, str]:
        """The color grids of both images."""
        return self.liked.color_grid, self.disliked.color_grid

    @property
    def images(self) -> tuple[str, str]:
        """The digests of both images."""
        return self.liked.image, self.disliked.image


@dataclass(frozen=True)
class LikedImage:
    """A liked image of a profile without dislikes. It has the properties of a pair that selection uses."""

    liked: Rating
    shares_prompt = False

    prompt = property(lambda self: self.liked.prompt)
    time = property(lambda self: self.liked.time)
    line = property(lambda self: self.liked.line)
    color_grids = property(lambda self: (self.liked.color_grid,))
    images = property(lambda self: (self.liked.image,))


Candidate = TypeVar("Candidate", RatedPair, LikedImage)


@dataclass(frozen=True)
class SelectionConfig:
    """Options for selecting the pairs of a history.

    Attributes:
        max_pairs: Maximum number of pairs (8: docs/paper-index.md, section 1).
        rule: "latest" selects the newest pairs, "diverse" the pairs that look least alike, and "same prompt" prefers
            pairs whose two images were made for the same prompt.
        half_life_days: Days after which a rating has half the weight under "diverse" and "same prompt". Age is counted
            from the newest rating, so that a history only changes with a rating. 0 ignores age (our choice; the papers
            use all pairs of a user).

    Raises:
        ProfileError: A value is out of range.
    """

    max_pairs: int = 8
    rule: str = SELECTION_RULES[0]
    half_life_days: float = 0.0

    def __post_init__(self) -> None:
        require_number("max_pairs", self.max_pairs, 1, integer=True, error=ProfileError)
        require_choice("select", self.rule, SELECTION_RULES, ProfileError)
        require_number("half_life_days", self.half_life_days, 0, error=ProfileError)


def derive_pairs(ratings: Iterable[Rating]) -> list[RatedPair]:
    """Combine ratings into pairs, oldest first. Every rating is used, unless all are likes or all are dislikes.

    1. From the newest like to the oldest, each takes the dislike of the same prompt that is nearest in time.
    2. The remaining likes take the nearest remaining dislike of any prompt.
    3. Ratings that remain on one side share the nearest rating of the other side. Three likes and one dislike make
       three pairs.
    """
    liked, disliked = [], []
    for rating in ratings:
        (liked if rating.liked else disliked).append(rating)
    if not liked or not disliked:
        return []
    pairs, likes = _match(liked, disliked, by_prompt=True)
    used = {pair.disliked.image for pair in pairs}
    more, likes = _match(likes, [rating for rating in disliked if rating.image not in used], by_prompt=False)
    pairs += more
    used |= {pair.disliked.image for pair in more}
    pairs += [RatedPair(like, partner) for like, partner in _share(likes, disliked)]
    unused = [rating for rating in disliked if rating.image not in used]
    pairs += [RatedPair(partner, dislike) for dislike, partner in _share(unused, liked)]
    return sorted(pairs, key=_order)


def liked_images(ratings: Iterable[Rating]) -> list[LikedImage]:
    """Return the liked images, oldest first."""
    return sorted((LikedImage(rating) for rating in ratings if rating.liked), key=_order)


def select_pairs(candidates: Sequence[Candidate], config: SelectionConfig) -> list[Candidate]:
    """Select at most `config.max_pairs` candidates, oldest first (the order in which PrefDisc reads them).

    "same prompt" counts other pairs as one half-life older. "diverse" starts with the newest candidate, then repeatedly
    adds the one whose color grid is farthest from all selected ones, multiplied by its age weight.
    """
    newest_first = sorted(candidates, key=_order, reverse=True)
    if len(candidates) <= config.max_pairs:
        return newest_first[::-1]
    if config.rule == "latest":
        return newest_first[: config.max_pairs][::-1]
    weights = _age_weights(newest_first, config.half_life_days)
    if config.rule == "same prompt":
        weights = weights * np.array([1.0 if candidate.shares_prompt else 0.5 for candidate in newest_first])
        order = np.argsort(-weights, kind="stable")[: config.max_pairs]
    else:
        vectors = np.array([_color_vector(candidate.color_grids) for candidate in newest_first])
        order = _farthest_points(vectors, weights, config.max_pairs)
    return [newest_first[index] for index in sorted(order, reverse=True)]


def _order(candidate: RatedPair | LikedImage | Rating) -> tuple[float, int]:
    return candidate.time, candidate.line


def _age_weights(newest_first: Sequence[Candidate], half_life_days: float) -> np.ndarray:
    times = np.array([candidate.time for candidate in newest_first])
    return np.exp2((times - times[0]) / (half_life_days * SECONDS_PER_DAY)) if half_life_days else np.ones(len(times))


def _farthest_points(vectors: np.ndarray, weights: np.ndarray, count: int) -> list[int]:
    """Return indices by weighted farthest-point selection (Gonzalez 1985). The first of equal points wins."""
    selected = [0]
    distances = np.linalg.norm(vectors - vectors[0], axis=1)
    free = np.ones(len(vectors), bool)
    while len(selected) < count:
        free[selected[-1]] = False
        selected.append(int(np.argmax(np.where(free, distances * weights, -1.0))))
        distances = np.minimum(distances, np.linalg.norm(vectors - vectors[selected[-1]], axis=1))
    return selected


def _color_vector(color_grids: tuple[str, ...]) -> np.ndarray:
    """Return the digits of all color grids as one vector. A missing or malformed grid counts as zeros."""
    width = 3 * GRID_SIZE**2
    parts = []
    for grid in color_grids:
        valid = len(grid) == width and set(grid) <= set("0123456789abcdef")
        parts.append([int(digit, 16) for digit in grid] if valid else [0] * width)
    return np.array(parts, dtype=np.float32).reshape(-1)


class _Timeline:
    """Ratings sorted by time, for finding the one nearest to a time. Of two equally near ones it is the later."""

    def __init__(self, ratings: Iterable[Rating] = ()) -> None:
        self._sorted: list[tuple[float, int, Rating]] = []
        for rating in ratings:
            self.add(rating)

    def add(self, rating: Rating) -> None:
        insort(self._sorted, (rating.time, rating.line, rating))

    def nearest(self, time: float) -> Rating | None:
        index = self._nearest_index(time)
        return None if index is None else self._sorted[index][2]

    def pop_nearest(self, time: float) -> Rating | None:
        index = self._nearest_index(time)
        return None if index is None else self._sorted.pop(index)[2]

    def _nearest_index(self, time: float) -> int | None:
        if not self._sorted:
            return None
        right = bisect_left(self._sorted, (time,))
        neighbors = [index for index in (right, right - 1) if 0 <= index < len(self._sorted)]
        return min(neighbors, key=lambda index: abs(self._sorted[index][0] - time))


def _match(likes: list[Rating], dislikes: list[Rating], by_prompt: bool) -> tuple[list[RatedPair], list[Rating]]:
    """Return pairs in which each rating occurs once, and the likes without a partner."""
    free = _timelines(dislikes, by_prompt)
    pairs, unmatched = [], []
    for like in sorted(likes, key=_order, reverse=True):
        partner = free[like.prompt if by_prompt else ""].pop_nearest(like.time)
        if partner is None:
            unmatched.append(like)
        else:
            pairs.append(RatedPair(like, partner))
    return pairs, unmatched


def _share(ratings: list[Rating], others: list[Rating]) -> list[tuple[Rating, Rating]]:
    """Return each rating with the nearest of the others, of the same prompt where there is one."""
    by_prompt, all_others = _timelines(others, by_prompt=True), _Timeline(others)
    return [(one, by_prompt[one.prompt].nearest(one.time) or all_others.nearest(one.time)) for one in ratings]


def _timelines(ratings: list[Rating], by_prompt: bool) -> dict[str, _Timeline]:
    timelines: dict[str, _Timeline] = defaultdict(_Timeline)
    for rating in ratings:
        timelines[rating.prompt if by_prompt else ""].add(rating)
    return timelines
