"""Fixtures: the shipped model, 48 posters and trials of 12 users."""

import numpy as np
import pytest

from prefgen.checkpoint.preference_model import load_preference_model
from train.data.agents import World
from train.evaluate import baselines
from train.evaluate.choice_trials import draw_gallery, draw_trials, gallery_features
from train.evaluate.prefdisc_scoring import EncodedGallery


@pytest.fixture(scope="session")
def world():
    return World.load()


@pytest.fixture(scope="session")
def model():
    return load_preference_model("pocket")


@pytest.fixture(scope="session")
def gallery():
    return draw_gallery(np.random.default_rng(1), per_subject=4)


@pytest.fixture(scope="session")
def encoded(model, gallery):
    return EncodedGallery(model.prefdisc, gallery, gallery_features(model.prefdisc, gallery))


@pytest.fixture(scope="session")
def trials(world, gallery):
    rng = np.random.default_rng(2)
    return draw_trials(world, gallery, world.sample(12, rng)[0], 5, rng)


@pytest.fixture
def few(monkeypatch):
    """Choose penalties on a few users, because their values do not matter here."""
    for name, value in {"VALIDATION_USERS": 12, "VALIDATION_TARGETS": 2, "VALIDATION_POSTERS": 4}.items():
        monkeypatch.setattr(baselines, name, value)
