"""The alignment's training: crowds, captions and the measure of whose text a user finds."""

import pytest
import torch

from train.loop import generator_of
from train.pocket.align import BATCH, _crowd, favourites, retrieval


def test_a_crowd_shares_a_favourite():
    best = torch.randint(3, (400, 5), generator=generator_of(0, 0))
    for step in range(10):
        crowd = _crowd(best, generator_of(1, step))
        assert len(crowd) == len(set(crowd.tolist())) == BATCH
        assert any(len(set(best[crowd, name].tolist())) == 1 for name in range(5))


def test_a_crowd_is_never_of_one():
    best = torch.arange(6)[:, None].expand(-1, 5)
    assert all(len(_crowd(best, generator_of(0, step))) == 2 for step in range(20))


def test_favourites_are_a_caption():
    assert favourites([1, 1, 1, 0, 0]) == "over the sea, neon colours, striped sky, centred, flat"


def test_retrieval_of_the_texts_themselves_and_of_noise():
    generator = torch.Generator().manual_seed(0)
    text, noise = torch.randn(2, 200, 32, generator=generator)
    assert retrieval(text, text)["rank"] == pytest.approx(1)
    assert retrieval(noise, text)["rank"] == pytest.approx(0.5, abs=0.05)
