"""`train.evaluate.ratings_curve` with few users: what it writes, and that the head learns beyond eight pairs."""

import json

import pytest

from train.evaluate import ratings_curve


@pytest.fixture
def few_training_users(monkeypatch):
    monkeypatch.setattr(ratings_curve, "TRAINING_USERS", 40)
    monkeypatch.setattr(ratings_curve, "TRAINING_PAIRS", 24)
    monkeypatch.setattr(ratings_curve, "COUNTS", (0, 2, 8, 64))


def test_the_head_learns_beyond_eight_pairs(tmp_path, capsys, few_training_users, few):
    options = ["--users", "16", "--seeds", "1", "--posters", "8", "--out", str(tmp_path / "curve")]
    ratings_curve.main(options)
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert set(result["fixed"]["share"]) == set(result["free"]["share"]) == {"2", "8", "64"}
    accuracy = {world: result[world]["accuracy"] for world in ("fixed", "free")}
    for methods in accuracy.values():
        assert set(methods) == set(ratings_curve.METHODS)
        values = {name: [estimate["value"] for estimate in estimates] for name, estimates in methods.items()}
        assert values["prefdisc"][3] == values["prefdisc"][2], "PrefDisc reads eight pairs"
        assert values["head"][3] > values["head"][1]
    table = (tmp_path / "curve" / "table.md").read_text()
    assert "| free | 64 |" in table
