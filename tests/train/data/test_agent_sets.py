"""Agents on disk: what is written is what was drawn, as far apart as asked, and the limits stand beside it."""

import json
from itertools import combinations as pairs_of

import numpy as np
import pytest
from PIL import Image

from train.data.agent_sets import (
    AgentSetConfig,
    choose_pairs,
    draw_agents,
    load_agents,
    main,
    write_agent_set,
)
from train.data.agents import World, utility_of
from train.data.posters import (
    ATTRIBUTES,
    Attributes,
    caption,
    combinations,
    draw,
    subject_prompt,
)
from train.data.profiles import draw_apart
from train.data.user_sets import SetError
from train.prefdisc.dataset import read_users

CONFIG = AgentSetConfig(users=3, seed=5, split="test", validation=2, pairs=9)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    out = tmp_path_factory.mktemp("sets") / "few"
    write_agent_set(out, CONFIG)
    return out


def test_the_trainings_reader_reads_it(written):
    test, validation = read_users(written, "test"), read_users(written, "validation")
    assert (len(test), len(validation)) == (3, 2)
    assert not any(user.seen for user in test + validation)
    files = [file for user in test + validation for pair in user.pairs for file in pair.images]
    assert len(set(files)) == 5 * 9 * 2
    assert all(file.exists() for file in files)


def test_an_image_shows_its_attributes_and_the_liked_one_was_chosen(written):
    _, parts = load_agents(written)
    users = read_users(written, "test")
    part = next(part for part in parts if part.split == "test")
    assert part.names == tuple(user.user for user in users)
    for user, posters in zip(users, part.pairs, strict=True):
        for pair, (liked, _) in zip(user.pairs, posters, strict=True):
            assert pair.prompt == subject_prompt(Attributes.from_indices(liked))
            assert pair.caption == caption(Attributes.from_indices(liked)), "and all that the liked image shows"
            image = np.asarray(Image.open(pair.liked).convert("RGB"), float)
            drawn = [draw(Attributes.from_indices(liked), np.random.default_rng(seed)) for seed in range(3)]
            other = [draw(Attributes.from_indices(row), np.random.default_rng(0)) for row in combinations("test")[:, 0]]
            closest = min(np.abs(image - again).mean() for again in drawn)
            # phase and place are drawn anew, the colours are not
            assert closest < np.median([np.abs(image - again).mean() for again in other])
    gaps = np.diff(utility_of(part.utilities[:, None, None], part.pairs))
    assert (gaps < 0).mean() > 0.6, "the liked poster mostly has the greater utility: .89 on the average"


def test_the_same_seed_gives_the_same_set_and_another_gives_others(tmp_path, written):
    same, other = tmp_path / "same", tmp_path / "other"
    write_agent_set(same, CONFIG)
    write_agent_set(other, AgentSetConfig(**{**CONFIG.__dict__, "seed": 6}))
    for file in ("users.jsonl", "agents.json", "limits.json", "images/agent-5-00004/08-disliked.webp"):
        assert (same / file).read_bytes() == (written / file).read_bytes()
    assert (other / "agents.json").read_bytes() != (written / "agents.json").read_bytes()


def test_thirty_agents_that_differ():
    world = World.load()
    (agents,) = draw_agents(world, AgentSetConfig(users=30, seed=1, jaccard=0.8))
    vectors = (agents.utilities[:, at : at + n] for at, n in ((0, 3), (3, 8), (11, 5), (16, 4), (20, 4)))
    centred = np.concatenate([v - v.mean(1, keepdims=True) for v in vectors], axis=1)
    order = centred.argsort(1).tolist()
    profiles = [{("+", i) for i in row[-3:]} | {("-", i) for i in row[:3]} for row in order]
    assert min(1 - len(a & b) / len(a | b) for a, b in pairs_of(profiles, 2)) >= 0.8
    assert agents.pairs.shape == (30, 10, 2, 6), "10 liked and 10 disliked images each"


def test_agents_are_taken_from_the_worlds_own():
    world = World.load()
    plain, groups = draw_apart(world, 5, 0.0, np.random.default_rng(0))
    drawn, theirs = world.sample(5_000, np.random.default_rng(0))
    assert (plain == drawn[:5]).all()
    assert (groups == theirs[:5]).all()


def test_too_many_agents_apart_are_refused(monkeypatch):
    monkeypatch.setattr("train.data.profiles._CHUNKS", 1)
    with pytest.raises(SetError, match=r"were found among 5,000; expected 60. Use a smaller --users"):
        draw_apart(World.load(), 60, 0.95, np.random.default_rng(0))


@pytest.mark.parametrize("split", ["train", "test"])
def test_posters_are_two_of_one_subject_and_of_the_split(split):
    world, rng = World.load(), np.random.default_rng(0)
    pairs = choose_pairs(world, world.sample(50, rng)[0], 10, split, rng)
    known = set(map(tuple, combinations(split).reshape(-1, 6).tolist()))
    assert set(map(tuple, pairs.reshape(-1, 6).tolist())) <= known
    assert (pairs[..., 0, 0] == pairs[..., 1, 0]).all()
    assert (pairs[..., 0, :] != pairs[..., 1, :]).any(-1).all()
    assert len(np.unique(pairs[..., 0])) == len(ATTRIBUTES["subject"])


def test_the_limits_beside_a_set(written):
    told = json.loads((written / "limits.json").read_text())
    assert told["history"] == 8
    assert set(told["limits"]) == {"test", "validation"}
    test = told["limits"]["test"]
    assert test["choices"] >= 2000
    # .89, .79 and .64 over all agents; three of them are as different as people are.
    assert test["true_utility"]["accuracy"] == pytest.approx(0.89, abs=0.06)
    assert test["true_utility"]["accuracy"] > test["ideal_observer"]["accuracy"]
    assert 0.3 < test["bradley_terry"]["accuracy"] < 0.85


def test_the_command(tmp_path, capsys):
    arguments = ["--users", "1", "--seed", "2", "--pairs", "2", "--size", "48", "--out", str(tmp_path / "one")]
    main(arguments)
    printed = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert printed["history"] == 1
    assert Image.open(next((tmp_path / "one").rglob("*.webp"))).size == (48, 48)
    assert not (tmp_path / "one.partial").exists()
    with pytest.raises(SystemExit, match="already exists"):
        main(arguments)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"users": 0}, "least 1, 0"), ({"split": "holdout"}, "--split is 'holdout'"), ({"jaccard": 8.0}, "expected 0 to")],
)
def test_settings_that_cannot_be_are_refused(wrong, message):
    with pytest.raises(SetError, match=message):
        AgentSetConfig(**{"users": 1, "seed": 0, **wrong})


def test_a_crash_leaves_no_set(tmp_path):
    def crash(rows):
        yield rows[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_agent_set(tmp_path / "half", CONFIG, crash)
    assert not (tmp_path / "half").exists()
    write_agent_set(tmp_path / "half", CONFIG)
    assert len(list((tmp_path / "half").rglob("*.webp"))) == 90


def test_what_is_no_agents_set_is_named(tmp_path):
    (tmp_path / "agents.json").write_text("{}")
    with pytest.raises(SetError, match=r"agents\.json does not describe agents"):
        load_agents(tmp_path)
