"""The evidence of a person's ratings: liked and disliked images, and pairs of one prompt."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import ProfileError
from ..profile.pairing import SECONDS_PER_DAY, derive_pairs
from ..profile.ratings import Rating
from ..validation import require, require_number

NO_IMAGE = -1


@dataclass(frozen=True)
class Observations:
    """Observations of one person's taste. Each is a rated image, or a choice between two images.

    Attributes:
        images: Index of the rated image, or of the preferred one of a pair, (n,).
        others: Index of the rejected image of a pair, (n,); `NO_IMAGE` for a single rating.
        targets: Observed probability of liking the image, or of preferring it to the other, (n,). 1 for a like and for
            a pair, 0 for a dislike; values between are graded ratings.
        weights: Number of ratings that an observation counts as, (n,).
    """

    images: Tensor
    others: Tensor
    targets: Tensor
    weights: Tensor

    def __len__(self) -> int:
        return len(self.images)

    @property
    def is_single(self) -> Tensor:
        """True for each rating of a single image, (n,)."""
        return self.others == NO_IMAGE

    def differences(self, values: Tensor) -> Tensor:
        """Return the value of each image; for an image in a pair, subtract the value of the other image.

        Args:
            values: One row per image, (N, D) or (N,).

        Returns:
            One row per observation, (n, D) or (n,).
        """
        rejected = values[self.others.clamp_min(0)]
        single = self.is_single.view(-1, *[1] * (values.ndim - 1))
        return values[self.images] - torch.where(single, torch.zeros_like(rejected), rejected)

    def sum_by_image(self, residuals: Tensor, num_images: int) -> Tensor:
        """Sum signed values of observations over the images, the transpose of `differences`: (n,) to (N,)."""
        total = residuals.new_zeros(num_images).index_add_(0, self.images, residuals)
        pairs = ~self.is_single
        return total.index_add_(0, self.others[pairs], -residuals[pairs])

    @classmethod
    def from_singles(cls, targets: Sequence[float] | Tensor, weights: Tensor | None = None) -> Observations:
        """Return one observation for each image.

        Args:
            targets: 1 for a like, 0 for a dislike, or a value between for a graded rating, (N,).
            weights: Number of ratings that each one counts as, (N,). By default 1.
        """
        targets = torch.as_tensor(targets, dtype=torch.float64)
        images = torch.arange(len(targets))
        weights = torch.ones_like(targets) if weights is None else weights.double()
        return cls(images, torch.full_like(images, NO_IMAGE), targets, weights)

    @classmethod
    def from_pairs(cls, preferred: Sequence[int], rejected: Sequence[int]) -> Observations:
        """Return one observation for each pair of image indices."""
        ones = torch.ones(len(preferred), dtype=torch.float64)
        return cls(torch.as_tensor(preferred), torch.as_tensor(rejected), ones, ones.clone())


def rating_observations(
    ratings: Sequence[Rating], indices: Mapping[str, int], half_life_days: float = 0.0
) -> Observations:
    """Turn ratings into observations. Every rating counts.

    Ratings of one prompt become pairs, whose subject cannot explain the choice (see `derive_pairs`). Ratings without a
    prompt, and likes or dislikes of a prompt that has no counterpart, stay single.

    Args:
        ratings: One rating per image.
        indices: Index of each image's features, by digest. Ratings of other images are left out.
        half_life_days: Days after which a rating counts half. Age is counted from the newest rating. 0 ignores age.

    Raises:
        ProfileError: The half-life is negative.
    """
    require_number("half_life_days", half_life_days, 0, error=ProfileError)
    by_prompt: dict[str, list[Rating]] = defaultdict(list)
    for rating in ratings:
        if rating.image in indices:
            by_prompt[rating.prompt].append(rating)
    rows: list[tuple[int, int, float, float]] = []
    for prompt, group in by_prompt.items():
        pairs = derive_pairs(group) if prompt else []
        rows += [(indices[pair.liked.image], indices[pair.disliked.image], 1.0, pair.time) for pair in pairs]
        if not pairs:
            rows += [(indices[rating.image], NO_IMAGE, float(rating.liked), rating.time) for rating in group]
    require(rows, ProfileError, "No rating has an image; expected at least one. Rate an image first.")
    images, others, targets, times = zip(*sorted(rows, key=lambda row: row[3]), strict=True)
    ages = (times[-1] - torch.tensor(times, dtype=torch.float64)) / SECONDS_PER_DAY
    weights = 2.0 ** (-ages / half_life_days) if half_life_days else torch.ones_like(ages)
    return Observations(torch.tensor(images), torch.tensor(others), torch.tensor(targets, dtype=torch.float64), weights)
