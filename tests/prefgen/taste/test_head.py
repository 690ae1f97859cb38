"""The taste head against closed forms, a sampler, and people whose taste is known."""

import math

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from prefgen.errors import ImageError
from prefgen.taste import FeatureScaling, Observations, TasteConfig, TastePrior, fit_taste, isotropic_prior

IDENTITY = FeatureScaling(torch.zeros(3), 1.0)
PRIOR = TastePrior(
    torch.tensor([0.3, -0.2, 0.1, 0.5]).double(),
    torch.tensor([0.5, 1.0, 2.0, 1.5]).double(),
    torch.tensor([[1.0], [-0.5], [0.0], [0.2]]).double(),
)


def unit_features(count: int, width: int = 3, seed: int = 0) -> torch.Tensor:
    """Draw features of unit length in double precision, (count, width)."""
    drawn = torch.randn(count, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.nn.functional.normalize(drawn, dim=-1)


def mixed_observations() -> Observations:
    """Two likes, a dislike, a graded rating and two pairs of seven images."""
    return Observations(
        torch.tensor([0, 1, 2, 3, 4, 5]),
        torch.tensor([-1, -1, -1, -1, 5, 6]),
        torch.tensor([1.0, 1.0, 0.0, 0.7, 1.0, 1.0]).double(),
        torch.tensor([1.0, 0.5, 1.0, 1.0, 2.0, 1.0]).double(),
    )


def rows_of(features: torch.Tensor, observations: Observations) -> np.ndarray:
    """Write out the design matrix, one observation after the other."""
    rows = []
    for image, other in zip(observations.images.tolist(), observations.others.tolist(), strict=True):
        single = other < 0
        rows.append([*(features[image] - (0 if single else features[other])).tolist(), float(single)])
    return np.array(rows)


def negative_log_posterior(weights, rows, observations, offsets=0.0):
    logits = offsets + rows @ weights
    targets, counts = observations.targets.numpy(), observations.weights.numpy()
    deviation = weights - PRIOR.mean.numpy()
    likelihood = (counts * (targets * logits - np.logaddexp(0, logits))).sum()
    return deviation @ np.linalg.solve(PRIOR.covariance().numpy(), deviation) / 2 - likelihood


@pytest.mark.parametrize("repeats", [1, 4], ids=["few observations", "many observations"])
def test_the_weights_are_the_mode_of_the_posterior(repeats):
    """One fit is in the space of the observations, the other in that of the weights."""
    features, one = unit_features(7), mixed_observations()
    observations = Observations(*(torch.cat([values] * repeats) for values in vars(one).values()))
    offsets = torch.linspace(-1, 1, 7)
    head = fit_taste(features, observations, PRIOR, IDENTITY, offsets)
    rows = rows_of(features, observations)
    row_offsets = observations.differences(offsets.double()).numpy()
    mode = minimize(negative_log_posterior, PRIOR.mean.numpy(), (rows, observations, row_offsets), tol=1e-12)
    assert head.weights.numpy() == pytest.approx(mode.x, abs=1e-5)
    logits = row_offsets + rows @ head.weights.numpy()
    residuals = observations.weights.numpy() * (observations.targets.numpy() - 1 / (1 + np.exp(-logits)))
    contributions = PRIOR.covariance().numpy() @ rows.T @ residuals
    assert head.weights.numpy() - PRIOR.mean.numpy() == pytest.approx(contributions, abs=1e-5)
    assert head.image_weights[6] < 0 < head.image_weights[4], "rejected images push, preferred ones pull"


def test_both_spaces_give_the_same_variance_and_evidence():
    features, observations = unit_features(7), mixed_observations()
    few = fit_taste(features, observations, PRIOR, IDENTITY)
    silent = Observations(*(torch.cat([values, values[:4]]) for values in vars(observations).values()))
    silent.weights[6:] = 0.0  # more observations than weights, of which the last four count nothing
    many = fit_taste(features, silent, PRIOR, IDENTITY)
    queries = unit_features(5, seed=1)
    assert torch.allclose(few.weights, many.weights, atol=1e-6)
    assert torch.allclose(few.variance(queries), many.variance(queries), atol=1e-6)
    assert few.log_evidence == pytest.approx(many.log_evidence, abs=1e-5)


def test_without_evidence_the_posterior_is_the_prior():
    features = unit_features(4)
    observations = Observations.from_singles([1.0, 0.0, 1.0, 1.0], torch.zeros(4))
    head = fit_taste(features, observations, PRIOR, IDENTITY)
    rows = torch.cat([features, torch.ones(4, 1)], 1).double()
    assert torch.allclose(head.weights, PRIOR.mean, atol=1e-6)
    assert torch.allclose(head.variance(features), (rows @ PRIOR.covariance() * rows).sum(1), atol=1e-6)


def test_the_posterior_agrees_with_a_sampler():
    """A random walk of 40,000 steps samples the true posterior; Laplace's approximation is near its moments."""
    features, observations = unit_features(7), mixed_observations()
    head = fit_taste(features, observations, PRIOR, IDENTITY)
    rows, rng = rows_of(features, observations), np.random.default_rng(0)
    weights, samples = head.weights.numpy(), []
    energy = negative_log_posterior(weights, rows, observations)
    for step in range(40_000):
        proposed = weights + 0.7 * rng.standard_normal(4)
        proposed_energy = negative_log_posterior(proposed, rows, observations)
        if rng.random() < math.exp(min(0.0, energy - proposed_energy)):
            weights, energy = proposed, proposed_energy
        if step >= 1000:
            samples.append(weights)
    queries = unit_features(20, seed=1)
    logits = np.array(samples) @ np.c_[queries.numpy(), np.ones(20)].T
    assert head.logits(queries).numpy() == pytest.approx(logits.mean(0), abs=0.35 * logits.std(0).max())
    assert head.variance(queries).sqrt().numpy() == pytest.approx(logits.std(0), rel=0.15)
    probabilities = (1 / (1 + np.exp(-logits))).mean(0)
    assert head.score(queries).numpy() == pytest.approx(probabilities, abs=0.05)


def test_the_gradient_of_the_logit_is_the_finite_difference():
    features = unit_features(6, width=5)
    head = fit_taste(features, Observations.from_singles([1.0, 0, 1, 0, 1, 1]))
    query = (3 * unit_features(1, width=5, seed=2)).requires_grad_()
    assert torch.autograd.gradcheck(head.logits, (query,))


def test_the_evidence_chooses_a_larger_scale_for_a_decided_person():
    features = torch.nn.functional.normalize(torch.randn(300, 20, generator=torch.Generator().manual_seed(0)), dim=-1)
    taste = torch.randn(20, generator=torch.Generator().manual_seed(1))
    scales = []
    for strength in (0.3, 6.0):
        probabilities = torch.sigmoid(strength * features @ taste)
        likes = torch.bernoulli(probabilities, generator=torch.Generator().manual_seed(2))
        scales.append(fit_taste(features, Observations.from_singles(likes)).scale)
    assert scales[0] < scales[1]


def test_recent_ratings_count_more():
    """The person changed their mind about the same two images."""
    features = unit_features(2)
    observations = Observations(
        torch.tensor([0, 1, 0, 1]),
        torch.full((4,), -1),
        torch.tensor([1.0, 0.0, 0.0, 1.0]).double(),
        torch.tensor([0.2, 0.2, 1.0, 1.0]).double(),
    )
    logits = fit_taste(features, observations).logits(features)
    assert logits[1] > 0.5 + logits[0]


@pytest.mark.parametrize("likes", [[1.0], [0.0], [1.0, 1.0, 1.0], [0.0, 0.0, 0.0]], ids=str)
def test_few_or_one_sided_ratings_give_a_finite_taste(likes):
    features = unit_features(len(likes))
    head = fit_taste(features, Observations.from_singles(likes))
    assert torch.isfinite(head.score(features)).all()
    assert bool((head.score(features) > 0.5).all()) is bool(likes[0])


def test_equal_images_with_contradicting_ratings_stay_undecided():
    features = unit_features(1).repeat(2, 1)
    head = fit_taste(features, Observations.from_singles([1.0, 0.0]))
    assert head.score(features).numpy() == pytest.approx(0.5, abs=1e-6)


def test_ten_thousand_ratings_are_fitted():
    features = torch.randn(10_000, 32, generator=torch.Generator().manual_seed(0))
    likes = torch.bernoulli(torch.sigmoid(features[:, 0]), generator=torch.Generator().manual_seed(1))
    head = fit_taste(features, Observations.from_singles(likes))
    assert torch.corrcoef(torch.stack([head.logits(features), features[:, 0].float()]))[0, 1] > 0.9


def test_the_mean_function_is_added_and_only_its_errors_are_learned():
    features = unit_features(40, width=3)
    offsets = 4 * features[:, 0]
    likes = (offsets > 0).double()
    ready = fit_taste(features, Observations.from_singles(likes), isotropic_prior(3, 1.0), IDENTITY, offsets)
    alone = fit_taste(features, Observations.from_singles(likes), isotropic_prior(3, 1.0), IDENTITY)
    assert ready.weights[0].abs() < 0.5 * alone.weights[0].abs()
    assert torch.allclose(ready.logits(features, offsets) - ready.logits(features), offsets)


def test_features_that_are_not_finite_are_refused():
    features = unit_features(3)
    features[1, 0] = math.nan
    with pytest.raises(ImageError, match="NaN or infinite"):
        fit_taste(features, Observations.from_singles([1.0, 0.0, 1.0]))


def test_the_scale_is_one_of_the_config():
    features = unit_features(5)
    head = fit_taste(features, Observations.from_singles([1.0, 0, 0, 1, 1]), config=TasteConfig(scales=(0.7,)))
    assert head.scale == 0.7
