"""Each rated image is scored by a history without it."""

import pytest
import torch

from prefgen.checkpoint.file import Checkpoint
from prefgen.checkpoint.preference_model import PreferenceModel
from prefgen.cross_validation import cross_validated_scores, roc_auc
from prefgen.history import UserHistory
from tests.prefgen import tiny


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoint") / "tiny.safetensors"
    return PreferenceModel(Checkpoint({"prefdisc": {}}, {}, path, "f" * 64), prefdisc=tiny.prefdisc())


def without(history, *places):
    return UserHistory(tuple(pair for i, pair in enumerate(history.pairs) if i not in places), history.name)


def scored(model, history, image, prompt):
    return model.prefdisc.score(model.prefdisc.encode(history), image[None], prompt).item()


def test_images_of_the_history_are_scored_by_the_other_pairs_and_others_by_all(model):
    history = tiny.history()
    keys = [("a", "A"), ("b", "B"), ("c", "C")]
    new = tiny.history(1, seed=5).pairs[0].liked
    rated = {
        "b": lambda: (history.pairs[1].liked, "a cat"),
        "C": lambda: (history.pairs[2].disliked, ""),
        "new": lambda: (new, "a dog"),
    }
    told = []
    found = cross_validated_scores(model, history, keys, rated, told.append)
    expected = {
        "b": scored(model, without(history, 1), history.pairs[1].liked, "a cat"),
        "C": scored(model, without(history, 2), history.pairs[2].disliked, ""),
        "new": scored(model, history, new, "a dog"),
    }
    assert found == pytest.approx(expected, abs=1e-6)
    assert list(found) == list(rated)
    assert sum(told) == 3
    assert found["b"] != pytest.approx(scored(model, history, history.pairs[1].liked, "a cat"), abs=1e-4)


def test_an_image_of_several_pairs_is_scored_by_none_of_them(model):
    history = tiny.history()
    found = cross_validated_scores(
        model, history, [("a", "X"), ("b", "X"), ("c", "C")], {"X": lambda: (history.pairs[0].disliked, "")}
    )
    assert found["X"] == pytest.approx(scored(model, without(history, 0, 1), history.pairs[0].disliked, ""), abs=1e-6)


def test_an_image_of_every_pair_has_no_score(model):
    history = tiny.history(1)
    assert cross_validated_scores(model, history, [("a", "A")], {"a": lambda: (history.pairs[0].liked, "")}) == {}


def test_told_apart():
    assert roc_auc([0.9, 0.8], [0.1]) == 1
    assert roc_auc([0.1], [0.9, 0.8]) == 0
    assert roc_auc([0.5, 0.9], [0.5, 0.1]) == pytest.approx(3.5 / 4)
    assert roc_auc([0.5], []) is None
    assert roc_auc([], torch.zeros(2).tolist()) is None
