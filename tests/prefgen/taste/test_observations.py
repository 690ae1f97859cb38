"""Ratings as evidence: pairs of one prompt, single likes and dislikes, and their age."""

import pytest
import torch

from prefgen.errors import ProfileError
from prefgen.profile.pairing import SECONDS_PER_DAY
from prefgen.profile.ratings import Rating
from prefgen.taste import rating_observations


def rating(image: str, liked: bool, prompt: str = "", days: float = 0.0) -> Rating:
    """Return a rating on a day."""
    return Rating(time=days * SECONDS_PER_DAY, image=image, liked=liked, prompt=prompt)


def test_ratings_of_one_prompt_are_pairs_and_all_others_single():
    ratings = [
        rating("a", True, "a cat", 1),
        rating("b", False, "a cat", 2),
        rating("c", False, "a cat", 3),
        rating("d", True, "a dog", 4),
        rating("e", False, "", 5),
        rating("f", True, "", 6),
    ]
    observations = rating_observations(ratings, {digest: index for index, digest in enumerate("abcdef")})
    rows = set(zip(*(values.tolist() for values in vars(observations).values()), strict=True))
    assert rows == {(0, 1, 1.0, 1.0), (0, 2, 1.0, 1.0), (3, -1, 1.0, 1.0), (4, -1, 0.0, 1.0), (5, -1, 1.0, 1.0)}


def test_a_rating_counts_half_after_its_half_life():
    ratings = [rating("a", True, days=0), rating("b", False, days=30), rating("c", True, days=60)]
    observations = rating_observations(ratings, {"a": 0, "b": 1, "c": 2}, half_life_days=30)
    assert observations.weights.tolist() == pytest.approx([0.25, 0.5, 1.0])


def test_ratings_without_features_are_left_out_and_one_must_remain():
    ratings = [rating("a", True), rating("b", False)]
    assert len(rating_observations(ratings, {"b": 0})) == 1
    with pytest.raises(ProfileError, match="No rating has an image"):
        rating_observations(ratings, {})


def test_a_negative_half_life_is_refused():
    with pytest.raises(ProfileError, match="half_life_days is -1"):
        rating_observations([rating("a", True)], {"a": 0}, half_life_days=-1)


def test_residuals_are_summed_over_images():
    ratings = [rating("a", True, "x", 1), rating("b", False, "x", 2), rating("c", True, "", 3)]
    observations = rating_observations(ratings, {"a": 0, "b": 1, "c": 2})
    assert observations.sum_by_image(torch.tensor([0.5, 0.25]), 3).tolist() == [0.5, -0.5, 0.25]
