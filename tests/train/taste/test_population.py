"""What the taste head's prior learns from a population of raters, on populations that are known."""

import numpy as np
import pytest
import torch

from prefgen.taste.laplace import LogisticTargets
from train.taste.item_factors import fit_item_factors
from train.taste.population_prior import fit_population_prior


def test_item_factors_recover_the_mean_and_the_space_of_tastes():
    rng = np.random.default_rng(0)
    means, loadings = rng.normal(4, 1, 80), rng.normal(0, 1, (80, 2))
    ratings = means + rng.normal(0, 1, (300, 2)) @ loadings.T + rng.normal(0, 0.5, (300, 80))
    ratings[rng.random(ratings.shape) < 0.7] = np.nan
    factors = fit_item_factors(ratings, rank=2)
    assert np.corrcoef(factors.means, means)[0, 1] > 0.98
    assert factors.noise == pytest.approx(0.5, abs=0.06)
    explained = factors.factors @ np.linalg.lstsq(factors.factors, loadings, rcond=None)[0]
    assert ((loadings - explained) ** 2).mean() < 0.03


def test_items_without_ratings_have_the_overall_mean():
    ratings = np.random.default_rng(0).normal(3, 1, (50, 6))
    ratings[:, 5] = np.nan
    factors = fit_item_factors(ratings, rank=1)
    assert factors.means[5] == pytest.approx(np.nanmean(ratings), abs=0.2)
    assert np.abs(factors.factors[5]).max() < np.abs(factors.factors[:5]).max()


def test_the_prior_of_a_population_is_recovered():
    generator = torch.Generator().manual_seed(0)
    mean = torch.tensor([1.0, -0.5, 0.3]).double()
    covariance = torch.tensor([[1.0, 0.6, 0.0], [0.6, 1.0, 0.0], [0.0, 0.0, 0.25]]).double()
    weights = mean + torch.randn(400, 3, generator=generator).double() @ torch.linalg.cholesky(covariance).T
    rows = torch.randn(400, 60, 3, generator=generator).double()
    rows[..., -1] = 1.0
    likes = torch.bernoulli(torch.sigmoid((rows @ weights[..., None])[..., 0]), generator=generator)
    counts = torch.ones_like(likes)
    counts[:, 50:] = 0.0  # padding
    prior = fit_population_prior(rows, LogisticTargets(torch.zeros_like(likes), likes, counts))
    assert prior.mean.tolist() == pytest.approx(mean.tolist(), abs=0.2)
    assert prior.covariance().flatten().tolist() == pytest.approx(covariance.flatten().tolist(), abs=0.35)
