"""Tests the learning demo without a server: prompts, simulated ratings, the report and the picture strip."""

import json

import numpy as np
import pytest
from PIL import Image

from demo.config import ROOT
from demo.learn.__main__ import parse
from demo.learn.config import LearnConfig
from demo.learn.picture_strip import DISLIKED, LIKED, draw_strip
from demo.learn.rating_loop import Round, round_graph
from demo.learn.report import summarise
from demo.learn.simulated_raters import rate_pictures, sample_raters
from train.data.agents import World, training_users
from train.data.posters import TASTE
from train.evaluate.judge import load_judge

CONFIG = LearnConfig()


@pytest.mark.parametrize(
    ("utilities", "shown", "said"),
    [
        ([1.0, -2.0, 3.0, 0.0], [], {0: True, 1: False, 2: True, 3: False}),
        ([1.0, -2.0, 3.0, 0.0], [4.0, 6.0], {0: False, 1: False, 2: True, 3: False}),
        ([1.0, 2.0], [-3.0], {0: True, 1: True}),
        ([1.0, 2.0, 3.0], [], {0: False, 2: True}),
        ([1.0, 1.0, 1.0, 1.0], [], {}),
    ],
)
def test_what_is_better_than_usual_is_liked_and_the_usual_left_alone(utilities, shown, said):
    assert rate_pictures(np.array(utilities), shown) == said


def test_every_round_has_its_own_prompt_and_noise():
    for agent in range(CONFIG.agents):
        assert len({CONFIG.prompt(agent, round_index) for round_index in range(CONFIG.rounds)}) == CONFIG.rounds
    for round_index in range(CONFIG.rounds):
        assert len({CONFIG.prompt(agent, round_index) for agent in range(CONFIG.agents)}) == 12, (
            "every round has all subjects"
        )
    configs = (CONFIG, LearnConfig(seed=1))
    noises = [
        p.noise(agent, round_index) for p in configs for agent in range(p.agents) for round_index in range(p.rounds)
    ]
    assert len(set(noises)) == len(noises)


def test_agents_are_in_no_training_and_the_same_in_every_run():
    eyes, world = load_judge(), World.load()
    first, again, others = (sample_raters(LearnConfig(agents=3, seed=seed), eyes) for seed in (0, 0, 1))
    assert [rater.agent for rater in first] == [rater.agent for rater in again]
    assert first[0].agent.weights != others[0].agent.weights
    trained = training_users(world)
    for rater in first:
        taste = np.concatenate([list(rater.agent.weights[name].values()) for name in TASTE])
        assert np.abs(trained - taste).max(1).min() > 0.1  # the same user would be 0 apart
        assert len(rater.likes) == len(rater.dislikes) == 3


def test_the_graph_paints_as_the_quickstart_does():
    quickstart = json.loads((ROOT / "workflows" / "api" / "quickstart.json").read_text())

    def settings(nodes, kind):
        """Return a node's widget values, without links and seed."""
        found = [node["inputs"] for node in nodes.values() if node["class_type"] == kind]
        own = [{k: v for k, v in inputs.items() if not isinstance(v, list) and k != "seed"} for inputs in found]
        assert all(values == own[0] for values in own)
        return own[0]

    nodes = round_graph(CONFIG, 0, 3, has_likes=True).graph.api()
    assert settings(nodes, "KSampler") == settings(quickstart, "KSampler")
    adapter = settings(quickstart, "ApplyPreferenceAdapter")
    assert settings(nodes, "ApplyPreferenceAdapter").items() <= adapter.items()
    assert settings(nodes, "LoadUserHistory") == {"user": "agent 01"}
    record = settings(nodes, "RecordPreference")
    assert record == {"profile": "agent 01", "prompt": CONFIG.prompt(0, 3)}


def test_a_profile_without_ratings_is_not_read():
    nodes = round_graph(CONFIG, 0, 0, has_likes=False).graph.api().values()
    kinds = [node["class_type"] for node in nodes]
    assert "LoadUserHistory" not in kinds
    assert kinds.count("KSampler") == 1


def test_the_report_tells_a_gain_from_chance():
    rng = np.random.default_rng(0)
    plain = rng.normal(size=(20, 8))
    learned = plain + np.linspace(0, 2, 8) + np.where(np.arange(8) == 0, 0, rng.normal(0, 0.1, (20, 8)))
    report = summarise(CONFIG, learned, plain)
    assert report["above_plain"]
    assert report["last_gain_in_standard_errors"] > 50  # 2 over 0.1 / sqrt(20)
    assert report["gain"][0]["value"] == 0
    assert report["gain"][-1]["value"] == pytest.approx(2, abs=0.1)
    assert report["growth"]["value"] == pytest.approx(2 / 7, abs=0.02)
    assert report["growth_once_rated"]["value"] == pytest.approx(2 / 7, abs=0.02)
    assert report["mean_true_utility"] == pytest.approx(learned.mean(0), abs=1e-4)

    chance = plain + rng.normal(0, 1, (20, 8))
    report = summarise(CONFIG, chance, plain)
    assert not report["above_plain"]
    assert report["growth"]["low"] < 0 < report["growth"]["high"]
    assert json.loads(json.dumps(summarise(CONFIG, plain[:2, :2], plain[:2, :2])))["growth_once_rated"] is None


def test_the_strip_marks_what_was_liked():
    rater = sample_raters(LearnConfig(agents=1), load_judge())[0]
    pictures = tuple(Image.new("RGB", (96, 96), "gold") for _ in range(4))
    plain = Round("a sun", pictures, pictures, np.zeros(4), np.zeros(4), {})
    rated = Round("a sun", pictures, pictures, np.ones(4), np.zeros(4), {0: True, 1: False, 3: False})

    def marks(rounds):
        """Count the rating bars of each colour."""
        pixels = np.asarray(draw_strip(rater, rounds))[190:]  # below the header, which uses the same colours
        return [
            int((pixels == tuple(bytes.fromhex(colour[1:]))).all(-1).sum()) // (96 * 5) for colour in (LIKED, DISLIKED)
        ]

    assert marks([plain, plain]) == [0, 0]
    assert marks([plain, rated]) == [1, 2]


@pytest.mark.parametrize("asked", [["--agents", "1"], ["--rounds", "1"], ["--seed", "-1"]])
def test_what_cannot_be_measured_is_refused(asked, capsys):
    with pytest.raises(SystemExit):
        parse(asked)
    assert "expected 2 or more agents" in capsys.readouterr().err
