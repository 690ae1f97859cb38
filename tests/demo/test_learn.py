"""Tests a small version of the learning demo on the test server: ratings through the routes change the pictures."""

import json
from dataclasses import replace
from urllib.parse import quote

import numpy as np
import pytest
from PIL import Image

from demo.config import DemoConfig
from demo.learn.__main__ import write
from demo.learn.config import LearnConfig
from demo.learn.rating_loop import run_rounds
from demo.learn.simulated_raters import sample_raters
from train.evaluate.judge import load_judge

# Four steps instead of twelve: the pictures need not be good here.
SMALL = LearnConfig(agents=2, rounds=2, sampling=replace(DemoConfig(), steps=4), profiles="learning demo")


@pytest.fixture(scope="module")
def raters():
    return sample_raters(SMALL, load_judge())


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_agents_rate_what_they_get_and_get_something_else(comfy, raters, tmp_path):
    round_indices = []
    rounds_by_agent = run_rounds(comfy, SMALL, raters, round_indices.append)
    assert round_indices == [0, 0, 1, 1]
    for agent, (first, second) in enumerate(rounds_by_agent):
        assert len(first.pictures) == len(second.plain) == SMALL.images
        assert same(first.pictures, first.plain), "without ratings the pictures are plain"
        assert True in first.ratings.values(), "the agent likes at least one of the four posters"
        assert not same(second.pictures, second.plain), "ratings change the pictures of the next round"
        assert not same(second.plain, first.plain), "prompt and noise change"
        kept = json.loads(comfy.request(f"/prefgen/profiles/{quote(SMALL.profile(agent))}/ratings"))
        said = [(done.prompt, liked) for done in (first, second) for liked in done.ratings.values()]
        assert sorted((rating["prompt"], rating["liked"]) for rating in kept["ratings"]) == sorted(said)

    summary = write(SMALL, raters, rounds_by_agent, 1.0, tmp_path)
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["rounds"] == [1, 2]
    assert report["gain"][0]["value"] == 0
    means = [np.mean([rounds[round_index].utility for rounds in rounds_by_agent]) for round_index in range(2)]
    assert report["mean_true_utility"] == pytest.approx(means, abs=1e-4)  # rounded to four digits
    assert [agent["profile"] for agent in report["by_agent"]] == ["learning demo 01", "learning demo 02"]
    assert report.items() >= summary.items()
    for name in ("plot.png", "strip.png", "agents/learning-demo-01.jpg", "agents/learning-demo-02.jpg"):
        with Image.open(tmp_path / name) as picture:
            assert picture.width > 500
