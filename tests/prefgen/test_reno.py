"""Noise optimisation against closed forms, and the rewards."""

import math

import pytest
import torch

from prefgen.errors import RewardError
from prefgen.reno import RenoConfig, clip_rows, norm_regulariser, optimise
from prefgen.rewards import PreferenceReward, WeightedRewards

FREE = RenoConfig(iterations=5, learning_rate=0.1, momentum=0.0, max_grad_norm=math.inf, regulariser=0.0)


def images_of(noise):
    return noise


def toward(target):
    return lambda images: -(images - target).flatten(1).square().sum(1) / 2


def test_the_regulariser_is_least_at_a_gaussians_own_norm():
    noise = torch.randn(3, 4, 12, 12)
    noise = noise / noise.flatten(1).norm(dim=1).view(-1, 1, 1, 1) * math.sqrt(4 * 12 * 12 - 1)
    noise.requires_grad_()
    (grad,) = torch.autograd.grad(norm_regulariser(noise).sum(), noise)
    assert grad.abs().max() < 1e-5
    # the closed form: its gradient is e (1 - (d - 1) / ||e||^2)
    other = (2 * noise.detach()).requires_grad_()
    (grad,) = torch.autograd.grad(norm_regulariser(other).sum(), other)
    assert torch.allclose(grad, other.detach() * (1 - 575 / (4 * 575)), atol=1e-5)


def test_gradients_are_clipped_row_by_row():
    grad = torch.stack([torch.full((4,), 1.0), torch.full((4,), 0.01)])
    clipped = clip_rows(grad, 0.1)
    assert clipped[0].norm().item() == pytest.approx(0.1)
    assert torch.equal(clipped[1], grad[1])
    assert torch.equal(clip_rows(torch.zeros(1, 4), 0.1), torch.zeros(1, 4))


def test_plain_ascent_follows_its_closed_form():
    noise, target = torch.randn(2, 3, 2, 2), torch.randn(3, 2, 2)
    result = optimise(noise, images_of, toward(target), FREE)
    # x_n - target = (1 - lr)^n (x_0 - target), and four updates lie between five evaluations
    assert torch.allclose(result.noise - target, 0.9**4 * (noise - target), atol=1e-6)
    assert torch.allclose(
        result.curve, torch.stack([toward(target)(target + 0.9**n * (noise - target)) for n in range(5)])
    )


def test_momentum_is_nesterovs():
    config = RenoConfig(iterations=3, learning_rate=0.1, momentum=0.9, max_grad_norm=math.inf, regulariser=0.0)
    result = optimise(torch.zeros(1, 1), images_of, lambda x: 1.0 * x.sum(1), config)
    # constant gradient 1: steps of lr (g + m v) with v = 1, then 1.9
    assert result.noise.item() == pytest.approx(0.1 * (1 + 0.9 * 1) + 0.1 * (1 + 0.9 * 1.9))


def test_a_step_is_never_longer_than_clip_and_rate_allow():
    config = RenoConfig(iterations=2, learning_rate=5.0, momentum=0.0, max_grad_norm=0.1, regulariser=0.0)
    noise = torch.randn(2, 8)
    result = optimise(noise, images_of, toward(torch.full((8,), 100.0)), config)
    assert torch.allclose((result.noise - noise).norm(dim=1), torch.full((2,), 0.5), atol=1e-5)


def test_each_row_keeps_its_own_best_and_the_first_image_counts():
    def falling_then_rising(images):
        return torch.stack([-images[0].square().sum(), images[1].sum()])

    config = RenoConfig(iterations=4, learning_rate=1.0, momentum=0.0, max_grad_norm=math.inf, regulariser=0.0)
    noise = torch.tensor([[0.0, 0.0], [0.0, 0.0]])
    result = optimise(noise, images_of, falling_then_rising, config)
    assert result.iterations.tolist() == [0, 3]
    assert torch.equal(result.noise[0], noise[0])
    assert torch.equal(result.rewards, result.curve.amax(0))


def test_the_best_is_chosen_without_the_regulariser():
    config = RenoConfig(iterations=6, learning_rate=0.1, momentum=0.0, max_grad_norm=math.inf, regulariser=1.0)
    result = optimise(torch.full((1, 4), 5.0), images_of, lambda x: x.sum(1), config)
    assert result.iterations.item() == 0  # the regulariser pulls the norm, and with it the reward, down
    assert result.rewards.item() == pytest.approx(20.0)


def test_the_result_holds_no_graph_and_the_given_noise_is_untouched():
    noise = torch.randn(2, 3, 2, 2)
    before = noise.clone()
    result = optimise(noise, images_of, toward(0.0), FREE)
    assert not any(x.requires_grad for x in (result.noise, result.images, result.rewards, result.curve))
    assert torch.equal(noise, before)
    assert not noise.requires_grad


def test_steps_are_reported_and_may_stop_everything():
    seen = []

    def stop_after_two(step):
        seen.append((step.index, step.total, step.rewards.shape, step.images.requires_grad))
        if step.index == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        optimise(torch.randn(2, 3), images_of, toward(0.0), FREE, stop_after_two)
    assert seen == [(0, 5, (2,), False), (1, 5, (2,), False)]


def test_a_reward_without_gradient_or_not_finite_is_refused():
    with pytest.raises(RewardError, match="does not depend on the noise"):
        optimise(torch.randn(1, 3), images_of, lambda x: x.detach().sum(1), FREE)
    with pytest.raises(RewardError, match="iteration 1 is not finite"):
        optimise(torch.randn(1, 3), images_of, lambda x: x.sum(1) * math.nan, FREE)


def test_zero_iterations_are_refused():
    with pytest.raises(RewardError, match="0 iterations"):
        RenoConfig(iterations=0)


class FakePrefDisc:
    """Logits read straight off the pixels: (mean, 1 - mean)."""

    def logits(self, prefix, images, prompts):
        mean = images.flatten(1).mean(1)
        return torch.stack([mean, 1 - mean], -1)


def test_the_preference_rewards_are_the_score_and_the_margin():
    images = torch.rand(3, 3, 4, 4)
    logits = FakePrefDisc().logits(None, images, "")
    q = logits.softmax(-1)[:, 0]
    assert torch.allclose(PreferenceReward(FakePrefDisc(), None)(images), q)
    assert torch.allclose(PreferenceReward(FakePrefDisc(), None, sense="dislike")(images), 1 - q)
    margin = PreferenceReward(FakePrefDisc(), None, by="margin")(images)
    assert torch.allclose(margin, logits[:, 0] - logits[:, 1])
    assert torch.allclose(PreferenceReward(FakePrefDisc(), None, sense="dislike", by="margin")(images), -margin)


def test_an_unknown_sense_is_refused():
    with pytest.raises(RewardError, match="'love'"):
        PreferenceReward(FakePrefDisc(), None, sense="love")


def test_weighted_rewards_add_up_and_bad_weights_are_refused():
    images = torch.rand(2, 3, 4, 4)
    total = WeightedRewards([(2.0, lambda x: x.flatten(1).mean(1)), (0.5, lambda x: x.flatten(1).amax(1))])
    assert torch.allclose(total(images), 2 * images.flatten(1).mean(1) + 0.5 * images.flatten(1).amax(1))
    for weights in ([], [0.0], [1.0, -1.0]):
        with pytest.raises(RewardError, match="weights are"):
            WeightedRewards([(weight, lambda x: x.flatten(1).mean(1)) for weight in weights])
