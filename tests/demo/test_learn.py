"""The learning demo itself, made small, on the tests' server: rated through the routes, and painted anew by it."""

import json
from dataclasses import replace
from urllib.parse import quote

import numpy as np
import pytest
from PIL import Image

from demo.learn.__main__ import write
from demo.learn.agents import draw_critics
from demo.learn.loop import learn
from demo.learn.plan import LearnPlan
from demo.plan import Plan
from train.evaluate.judge import load_judge

# Four steps, not twelve: what is painted need not be good here.
SMALL = LearnPlan(agents=2, rounds=2, how=replace(Plan(), steps=4), profiles="learning demo")


@pytest.fixture(scope="module")
def critics():
    return draw_critics(SMALL, load_judge())


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_agents_rate_what_they_get_and_get_something_else(comfy, critics, tmp_path):
    turns = []
    played = learn(comfy, SMALL, critics, turns.append)
    assert turns == [0, 0, 1, 1]
    for agent, (first, second) in enumerate(played):
        assert len(first.pictures) == len(second.plain) == SMALL.images
        assert same(first.pictures, first.plain), "nothing is rated yet: what is painted is plain"
        assert True in first.ratings.values(), "this agent's four posters differ for it"
        assert not same(second.pictures, second.plain), "the ratings reach the pictures of the next queue"
        assert not same(second.plain, first.plain), "another prompt and noise"
        kept = json.loads(comfy.request(f"/prefgen/profiles/{quote(SMALL.profile(agent))}/ratings"))
        said = [(done.prompt, liked) for done in (first, second) for liked in done.ratings.values()]
        assert sorted((rating["prompt"], rating["liked"]) for rating in kept["ratings"]) == sorted(said)

    summary = write(SMALL, critics, played, 1.0, tmp_path)
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["rounds"] == [1, 2]
    assert report["gain"][0]["value"] == 0
    means = [np.mean([rounds[turn].utility for rounds in played]) for turn in range(2)]
    assert report["mean_true_utility"] == pytest.approx(means, abs=1e-4)  # rounded to four digits
    assert [agent["profile"] for agent in report["by_agent"]] == ["learning demo 01", "learning demo 02"]
    assert report.items() >= summary.items()
    for name in ("plot.png", "strip.png", "agents/learning-demo-01.jpg", "agents/learning-demo-02.jpg"):
        with Image.open(tmp_path / name) as picture:
            assert picture.width > 500
