"""Tests the accuracy on a dataset on disk: splits, scores and the command."""

import json

import numpy as np
import pytest
from PIL import Image

from train.evaluate import sets
from train.prefdisc.dataset import PairFiles, UserPairs, read_users


@pytest.fixture
def folder(tmp_path, gallery):
    """A dataset of six users, four of them seen, with eight, three or two pairs."""
    (tmp_path / "images").mkdir()
    for row, image in enumerate(gallery.images):
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(tmp_path / "images" / f"{row}.png")
    lines = []
    for user in range(6):
        # One pair for each subject: no image is in two pairs, so every split has a target.
        rows = [(4 * subject + user % 3, 4 * subject + 3) for subject in range((8, 3, 2)[user % 3])]
        pairs = [
            {"liked": f"images/{a}.png", "disliked": f"images/{b}.png", "prompt": str(gallery.prompts(np.array(a)))}
            for a, b in rows
        ]
        lines.append(json.dumps({"user": f"u{user}", "seen": user < 4, "split": "test", "pairs": pairs}))
    (tmp_path / "users.jsonl").write_text("\n".join(lines))
    return tmp_path


def test_no_target_is_in_its_history():
    pairs = tuple(PairFiles(f"liked{i}", f"disliked{i}") for i in range(20))
    history, targets = sets.split_pairs(UserPairs("a", "test", True, pairs), 8, np.random.default_rng(0))
    assert (len(history), len(targets)) == (8, sets.TARGETS)
    assert not set(history) & set(targets)
    history, targets = sets.split_pairs(UserPairs("b", "test", True, pairs[:2]), 8, np.random.default_rng(0))
    assert (len(history), len(targets)) == (1, 1)


def test_a_target_with_a_known_image_is_none():
    pairs = (PairFiles("a", "b"), PairFiles("a", "c"), PairFiles("d", "e"))
    for seed in range(6):
        history, targets = sets.split_pairs(UserPairs("a", "test", True, pairs), 2, np.random.default_rng(seed))
        known = {file for pair in history for file in pair.images}
        assert len(history) == 2
        assert all(known.isdisjoint(pair.images) for pair in targets)
    assert sets.split_pairs(UserPairs("b", "test", True, pairs[:2]), 8, np.random.default_rng(0))[1] == []


def test_scores_are_the_librarys(folder, model, gallery):
    users = read_users(folder, "test")
    prefix = sets.encode(model.prefdisc, users[0].pairs, "u0")
    found = sets.scores(model.prefdisc, prefix, users[1].pairs)
    rows = np.array([[1, 3], [5, 7], [9, 11]])
    wanted = model.prefdisc.score(
        prefix, gallery.images[rows.ravel()].float() / 255, gallery.prompts(rows.ravel()).tolist()
    )
    assert found.ravel() == pytest.approx(wanted.detach().numpy(), abs=2e-4)  # float32, other batch sizes


def test_the_command(folder, tmp_path, capsys):
    out = tmp_path / "out"
    result = sets.main(["--data", str(folder), "--seeds", "2", "--out", str(out), "--users", "6"])
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == result
    assert result["users"] == 6
    assert result["accuracy_seen"]["units"] == 4
    assert result["accuracy_unseen"]["units"] == 2
    assert "seen_minus_unseen" in result
    assert "PrefDisc, another user's history" in (out / "table.md").read_text()
    assert (out / "picture.png").stat().st_size > 5000


def test_the_history_that_is_given_is_read(folder, model, monkeypatch):
    """The own history, no history and another user's history give different prefixes."""
    asked = []
    score = model.prefdisc.score
    monkeypatch.setattr(model.prefdisc, "score", lambda prefix, *a: asked.append(prefix) or score(prefix, *a))
    users = read_users(folder, "test")
    found = sets.user_accuracies(model.prefdisc, users, 8, [0])
    assert all(values.shape == (6,) for values in found.values())
    digests = [prefix.digest if prefix else None for prefix in asked]
    assert len(set(digests)) == 7, "six histories and no history"
    assert digests[0] != digests[-1]
