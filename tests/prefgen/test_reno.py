"""Noise optimisation against closed forms."""

import math
from dataclasses import replace

import pytest
import torch

from prefgen.errors import RewardError
from prefgen.reno import RenoConfig, clip_row_norms, norm_regulariser, optimize_noise

FREE = RenoConfig(iterations=5, learning_rate=0.1, momentum=0.0, max_grad_norm=math.inf, regulariser=0.0)


def images_of(noise):
    return 1 * noise  # images of their own: the noise is moved in place


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
    clipped = clip_row_norms(grad, 0.1)
    assert clipped[0].norm().item() == pytest.approx(0.1)
    assert torch.equal(clipped[1], grad[1])
    assert torch.equal(clip_row_norms(torch.zeros(1, 4), 0.1), torch.zeros(1, 4))


def test_plain_ascent_follows_its_closed_form():
    noise, target = torch.randn(2, 3, 2, 2), torch.randn(3, 2, 2)
    result = optimize_noise(noise, images_of, toward(target), FREE)
    # x_n - target = (1 - lr)^n (x_0 - target), and four updates lie between five evaluations
    assert torch.allclose(result.noise - target, 0.9**4 * (noise - target), atol=1e-6)
    assert torch.allclose(
        result.curve, torch.stack([toward(target)(target + 0.9**n * (noise - target)) for n in range(5)])
    )


def test_momentum_is_nesterovs():
    config = RenoConfig(iterations=3, learning_rate=0.1, momentum=0.9, max_grad_norm=math.inf, regulariser=0.0)
    result = optimize_noise(torch.zeros(1, 1), images_of, lambda x: 1.0 * x.sum(1), config)
    # constant gradient 1: steps of lr (g + m v) with v = 1, then 1.9
    assert result.noise.item() == pytest.approx(0.1 * (1 + 0.9 * 1) + 0.1 * (1 + 0.9 * 1.9))


def test_a_step_is_never_longer_than_clip_and_rate_allow():
    config = RenoConfig(iterations=2, learning_rate=5.0, momentum=0.0, max_grad_norm=0.1, regulariser=0.0)
    noise = torch.randn(2, 8)
    result = optimize_noise(noise, images_of, toward(torch.full((8,), 100.0)), config)
    assert torch.allclose((result.noise - noise).norm(dim=1), torch.full((2,), 0.5), atol=1e-5)


def test_each_row_keeps_its_own_best_and_the_first_image_counts():
    def falling_then_rising(images):
        return torch.stack([-images[0].square().sum(), images[1].sum()])

    config = RenoConfig(iterations=4, learning_rate=1.0, momentum=0.0, max_grad_norm=math.inf, regulariser=0.0)
    noise = torch.tensor([[0.0, 0.0], [0.0, 0.0]])
    result = optimize_noise(noise, images_of, falling_then_rising, config)
    assert result.iterations.tolist() == [0, 3]
    assert torch.equal(result.noise[0], noise[0])
    assert torch.equal(result.rewards, result.curve.amax(0))


def test_the_best_is_chosen_without_the_regulariser():
    config = RenoConfig(iterations=6, learning_rate=0.1, momentum=0.0, max_grad_norm=math.inf, regulariser=1.0)
    result = optimize_noise(torch.full((1, 4), 5.0), images_of, lambda x: x.sum(1), config)
    assert result.iterations.item() == 0  # the regulariser pulls the norm, and with it the reward, down
    assert result.rewards.item() == pytest.approx(20.0)


def test_the_result_holds_no_graph_and_the_given_noise_is_untouched():
    noise = torch.randn(2, 3, 2, 2)
    before = noise.clone()
    result = optimize_noise(noise, images_of, toward(0.0), FREE)
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
        optimize_noise(torch.randn(2, 3), images_of, toward(0.0), FREE, stop_after_two)
    assert seen == [(0, 5, (2,), False), (1, 5, (2,), False)]


def test_a_reward_without_gradient_or_not_finite_is_refused():
    with pytest.raises(RewardError, match="does not depend on the noise"):
        optimize_noise(torch.randn(1, 3), images_of, lambda x: x.detach().sum(1), FREE)
    with pytest.raises(RewardError, match="iteration 1 is not finite"):
        optimize_noise(torch.randn(1, 3), images_of, lambda x: x.sum(1) * math.nan, FREE)


def nesterov(start, gradient, rate, momentum, updates):
    """The recursion as Sutskever et al. write it for ascent: v <- m v + g, e <- e + rate (g + m v)."""
    e, v = start, torch.zeros_like(start)
    for _ in range(updates):
        g = gradient(e)
        v = momentum * v + g
        e = e + rate * (g + momentum * v)
    return e


def test_nesterovs_recursion_on_a_quadratic():
    start, target = torch.randn(2, 5), torch.randn(5)
    config = replace(FREE, iterations=12, learning_rate=0.05, momentum=0.9)
    seen = []
    optimize_noise(start, images_of, toward(target), config, lambda step: seen.append(step.images))
    for updates, images in enumerate(seen):
        assert torch.allclose(images, nesterov(start, lambda e: target - e, 0.05, 0.9, updates), atol=1e-5)


def test_adams_steps_follow_the_paper():
    start, target = torch.randn(1, 4), torch.randn(4)
    seen = []
    config = replace(FREE, iterations=6, learning_rate=0.1, optimiser="adam")
    optimize_noise(start, images_of, toward(target), config, lambda step: seen.append(step.images))
    e, m, v = start, 0.0, 0.0
    for t, images in enumerate(seen):
        assert torch.allclose(images, e, atol=1e-5)
        g = target - e
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g.square()
        e = e + 0.1 * (m / (1 - 0.9 ** (t + 1))) / ((v / (1 - 0.999 ** (t + 1))).sqrt() + 1e-8)


@pytest.mark.parametrize("optimiser", ["sgd", "adam"])
def test_the_optimum_of_a_quadratic_is_found(optimiser):
    start, target = torch.randn(2, 6), torch.randn(6)
    config = replace(FREE, iterations=300, learning_rate=0.1, optimiser=optimiser)
    result = optimize_noise(start, images_of, toward(target), config)
    assert torch.allclose(result.noise, target.expand(2, -1), atol=1e-3)
    assert result.rewards.max() < 1e-6


def test_the_regulariser_alone_brings_the_norm_to_its_least():
    """With a reward that is flat, the noise ends at ||e|| = sqrt(d - 1), in its own direction."""
    start = 3 * torch.randn(2, 64)
    config = replace(FREE, iterations=200, learning_rate=0.1, regulariser=1.0)
    seen = []
    optimize_noise(start, images_of, lambda x: 0 * x.sum(1), config, lambda step: seen.append(step.images))
    assert torch.allclose(seen[-1].norm(dim=1), torch.tensor(63.0).sqrt().expand(2), atol=1e-3)
    assert torch.allclose(seen[-1] / seen[-1].norm(dim=1, keepdim=True), start / start.norm(dim=1, keepdim=True))


@pytest.mark.parametrize("optimiser", ["sgd", "adam"])
def test_rows_do_not_know_of_each_other(optimiser):
    noise, target = torch.randn(3, 8) * torch.tensor([[0.1], [1.0], [10.0]]), torch.randn(8)
    config = RenoConfig(iterations=15, learning_rate=0.5, optimiser=optimiser, patience=3, min_gain=1e-3)
    together = optimize_noise(noise, images_of, toward(target), config)
    for row in range(3):
        alone = optimize_noise(noise[row : row + 1], images_of, toward(target), config)
        assert torch.equal(together.noise[row], alone.noise[0])
        assert together.iterations[row] == alone.iterations[0]
        ran = len(alone.curve)
        assert torch.equal(together.curve[:ran, row], alone.curve[:, 0])
        assert (together.curve[ran:, row] == alone.curve[-1, 0]).all(), "a row that is done stays where it is"


def test_a_plateau_ends_it():
    # reached after one step of rate 1, exactly: then three more iterations without a gain
    config = replace(FREE, iterations=100, learning_rate=1.0, patience=3)
    result = optimize_noise(torch.randn(2, 4), images_of, toward(torch.zeros(4)), config)
    assert len(result.curve) == 5
    assert result.iterations.tolist() == [1, 1]
    # slow but steady is no plateau: what counts is the gain over all of the patience
    slow = replace(FREE, iterations=20, learning_rate=0.1, patience=5, min_gain=0.45)
    assert len(optimize_noise(torch.zeros(1, 1), images_of, lambda x: x.sum(1), slow).curve) == 20
    slower = replace(slow, min_gain=0.55)
    assert len(optimize_noise(torch.zeros(1, 1), images_of, lambda x: x.sum(1), slower).curve) < 20


class Half(torch.autograd.Function):
    """A generator in float16, as autograd sees it: gradients beyond its range vanish or overflow."""

    @staticmethod
    def forward(ctx, x):
        return x.half().float()

    @staticmethod
    def backward(ctx, grad):
        return grad.half().float()


def test_small_gradients_survive_half_precision_by_the_loss_scale():
    def weak(images):
        return 1e-9 * images.sum(1)  # float16's least number is 6e-8

    config = replace(FREE, iterations=2, learning_rate=1e9)
    noise = torch.zeros(1, 4)
    assert torch.equal(optimize_noise(noise, Half.apply, weak, config).noise, noise), "without a scale nothing moves"
    moved = optimize_noise(noise, Half.apply, weak, replace(config, loss_scale=2.0**16))
    assert torch.allclose(moved.noise, torch.ones(1, 4), rtol=1e-2)


def test_a_row_that_overflows_lowers_its_own_scale():
    strength = torch.tensor([[1e-6], [1e3]])  # times 2^16 the second is beyond float16's 65,504
    noise = torch.zeros(2, 4)
    config = replace(FREE, iterations=3, learning_rate=1.0, loss_scale=2.0**16)
    result = optimize_noise(noise, Half.apply, lambda x: (strength * x).sum(1), config)
    assert torch.allclose(result.noise, 2 * strength.expand(2, 4), rtol=1e-2)
    with pytest.raises(RewardError, match=r"gradient of iteration 1 is not finite. Use float32"):
        optimize_noise(noise, Half.apply, lambda x: 1e6 * x.sum(1), config)


def test_gradient_norms_are_reported():
    steps = []
    optimize_noise(torch.zeros(2, 4), images_of, toward(torch.ones(4)), FREE, steps.append)
    assert steps[0].gradient_norms.tolist() == [2.0, 2.0]
    assert steps[-1].gradient_norms.tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"iterations": 0}, "iterations is 0; expected a whole number at least 1"),
        ({"learning_rate": -1.0}, "learning_rate is -1; expected a finite number at least 0"),
        ({"learning_rate": math.nan}, "learning_rate is nan"),
        ({"momentum": 1.0}, "momentum is 1; expected a finite number at least 0 and below 1"),
        ({"max_grad_norm": 0.0}, "max_grad_norm is 0; expected a finite number above 0"),
        ({"regulariser": -0.1}, "regulariser"),
        ({"patience": -1}, "patience"),
        ({"loss_scale": 0.5}, "loss_scale is 0.5; expected a finite number at least 1"),
        ({"num_initial_noises": 0}, "num_initial_noises is 0; expected a whole number at least 1 and at most 30"),
        ({"num_initial_noises": 31}, "num_initial_noises is 31; .* at most 30. Each of them takes one iteration"),
        ({"iterations": "30"}, "iterations is '30'; expected a whole number"),
        ({"num_initial_noises": 1.5}, "num_initial_noises is 1.5; expected a whole number"),
        ({"iterations": math.nan}, "iterations is nan; expected a whole number"),
        ({"learning_rate": None}, "learning_rate is None; expected a finite number"),
        ({"patience": True}, "patience is True; expected a whole number"),
        ({"optimiser": "lion"}, "optimiser is 'lion'; expected one of sgd, adam"),
    ],
)
def test_settings_that_mean_nothing_are_refused(wrong, message):
    with pytest.raises(RewardError, match=message):
        RenoConfig(**wrong)


def test_a_reward_of_another_shape_is_refused():
    with pytest.raises(RewardError, match=r"rewards has shape \(\); expected \(2,\), one number for each"):
        optimize_noise(torch.randn(2, 3), images_of, lambda x: x.sum(), FREE)


def test_the_climb_starts_from_each_rows_best_noise():
    given, other = torch.tensor([[0.0], [3.0]]), torch.tensor([[1.0], [5.0]])
    seen = []
    config = replace(FREE, iterations=4, num_initial_noises=2)
    result = optimize_noise(given, images_of, toward(4.0), config, seen.append, lambda k: other)
    # the first row climbs from the other noise, at a distance of 3, the second's two are as good and it stays with its
    # own; each step goes a tenth of the way
    assert seen[2].images.tolist() == [[1.0], [3.0]]
    assert torch.allclose(seen[3].images, torch.tensor([[1.3], [3.1]]))
    assert [step.index for step in seen] == [0, 1, 2, 3]
    assert result.curve.shape == (4, 2)
    assert result.iterations.tolist() == [3, 3]


def test_as_many_starts_as_iterations_are_best_of_n():
    noises = torch.randn(6, 2, 3)
    plain = replace(FREE, iterations=6, num_initial_noises=6)
    # nothing is differentiated: this reward has no gradient to give
    result = optimize_noise(noises[0], images_of, lambda x: x.detach().sum(1), plain, sample_noise=lambda k: noises[k])
    best = noises.sum(2).argmax(0)
    assert result.iterations.tolist() == best.tolist()
    assert torch.equal(result.noise, noises[best, [0, 1]])
    assert torch.equal(result.curve, noises.sum(2))


def test_a_start_that_is_the_best_when_all_ends_is_kept():
    config = replace(FREE, iterations=4, learning_rate=100.0, num_initial_noises=2)
    start = torch.zeros(1, 2)
    result = optimize_noise(start, images_of, toward(1.0), config, sample_noise=lambda k: start + 0.5)
    assert result.iterations.tolist() == [1]
    assert torch.equal(result.noise, start + 0.5)


def test_starts_need_noises_to_try():
    with pytest.raises(RewardError, match="num_initial_noises is 3; expected 1 without `sample_noise`"):
        optimize_noise(torch.zeros(1, 2), images_of, toward(1.0), replace(FREE, num_initial_noises=3))
