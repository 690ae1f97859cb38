"""PrefDisc learns from what the noise optimisation made of its own score."""

from dataclasses import replace

import pytest
import torch

from prefgen.preference import load_preference_model
from train.pocket.__main__ import PARTS, trainer
from train.pocket.prefdisc import climbed, painted

SMALL = climbed.ClimbedConfig(climbed=climbed.USERS * climbed.EACH, keep=(0, 3), views=1)


@pytest.fixture(scope="module")
def prefdisc():
    return load_preference_model("pocket").require("prefdisc")


def test_the_part_is_trained_after_all_that_it_climbs_with():
    assert PARTS.index("painted") < PARTS.index("worded") < PARTS.index("climbed") < PARTS.index("probe")
    assert trainer("climbed") is climbed.train


def test_pictures_of_the_way_and_of_its_end_are_kept(prefdisc, tmp_path, monkeypatch):
    climbed_by = []

    def watched(*given):
        found = optimise(*given)
        climbed_by.append(found.curve[-1] - found.curve[0])
        return found

    optimise = climbed.optimise
    monkeypatch.setattr(climbed, "optimise", watched)
    images = climbed.climb_posters(prefdisc, tmp_path, SMALL)
    assert images.shape == (2 * SMALL.climbed, 3, 96, 96)
    assert images.dtype == torch.uint8
    before, after = images.split(SMALL.climbed)
    assert climbed_by[0].mean() > 0, "the score of its own users' pictures rises"
    assert (before != after).flatten(1).any(1).all()
    monkeypatch.setattr(climbed, "optimise", None)
    assert torch.equal(climbed.climb_posters(prefdisc, tmp_path, SMALL), images), "made once"


def test_the_eyes_learn_from_paintings_and_from_what_was_climbed(prefdisc, tmp_path, monkeypatch):
    shown = {}
    monkeypatch.setattr(climbed, "paint_posters", lambda *_: torch.zeros(4, 3, 96, 96, dtype=torch.uint8))
    monkeypatch.setattr(climbed, "climb_posters", lambda *_: torch.ones(2, 3, 96, 96, dtype=torch.uint8))
    monkeypatch.setattr(climbed, "adapt_sight", lambda _, images, *__: shown.setdefault("images", images))
    monkeypatch.setattr(climbed, "validate", lambda *_: {})
    monkeypatch.setattr("train.pocket.prefdisc.export", lambda *_: None)
    climbed.train(tmp_path, replace(SMALL, painted=painted.PaintedConfig()))
    assert shown["images"].flatten(1).sum(1).gt(0).tolist() == [False] * 4 + [True] * 2
