"""A reward of several views: what it is the mean of, that it is differentiable, and that it is harder to deceive."""

import pytest
import torch

from prefgen.errors import RewardError
from prefgen.reno import RenoConfig, optimize_noise
from prefgen.rewards import AugmentedReward
from prefgen.rewards.augmented import random_view, shift


def brightness(images):
    return images.flatten(1).mean(1)


def one_pixel(images):
    """A reward that a single pixel deceives."""
    return images[:, :, 5, 5].mean(1)


def test_views_are_of_the_image_and_differ():
    image = torch.rand(1, 3, 32, 48)
    generator = torch.Generator().manual_seed(0)
    views = torch.cat([random_view(image, generator) for _ in range(64)])
    assert views.shape[1:] == image.shape[1:]
    assert (views[0] - views[1]).abs().mean() > 0.01
    # The deviation of 64 views' mean brightness is about (.04 + .15 / 2) / 8.
    assert brightness(views).mean() == pytest.approx(brightness(image).item(), abs=0.05)


def test_what_is_shifted_repeats_its_edge():
    image = torch.arange(12.0).view(1, 1, 3, 4)
    moved = shift(image, 1, -1)
    assert moved[0, 0].tolist() == [[1, 2, 3, 3], [1, 2, 3, 3], [5, 6, 7, 7]]
    assert torch.equal(shift(image, 0, 0), image)


def test_a_row_does_not_depend_on_the_rows_beside_it():
    images = torch.rand(3, 3, 16, 16)
    alone, together = AugmentedReward(one_pixel, 3, seed=4), AugmentedReward(one_pixel, 3, seed=4)
    # Interpolation of other batch sizes rounds differently.
    assert torch.allclose(alone(images[1:2]), together(images)[1:2], atol=1e-6)


def test_the_same_seed_sees_the_same_views_and_each_call_others():
    images = torch.rand(2, 3, 16, 16)
    first, second = AugmentedReward(one_pixel, 2, seed=1), AugmentedReward(one_pixel, 2, seed=1)
    again = first(images)
    assert torch.equal(again, second(images))
    assert not torch.equal(again, first(images))


def test_a_trick_of_one_pixel_moves_more_than_it_when_views_are_climbed():
    noise = torch.zeros(1, 3, 16, 16)
    config = RenoConfig(10, learning_rate=5.0, regulariser=0.0)

    def changed(reward):
        return (optimize_noise(noise, lambda x: x + 0.5, reward, config).noise.abs() > 1e-4).sum().item()

    assert changed(one_pixel) == 3, "one pixel of three channels"
    assert changed(AugmentedReward(one_pixel, 4)) > 20


def test_no_views_are_refused():
    with pytest.raises(RewardError, match="num_views is 0; expected a whole number at least 1"):
        AugmentedReward(brightness, 0)
