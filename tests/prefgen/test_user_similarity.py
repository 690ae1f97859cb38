"""Which people are alike: by their choices, and by nothing else of their histories."""

import pytest
import torch

from prefgen.checkpoint.file import Checkpoint
from prefgen.checkpoint.preference_model import PreferenceModel
from prefgen.errors import HistoryError
from prefgen.history import LikedImages, UserHistory
from prefgen.user_similarity import (
    compute_preference_direction,
    swap_liked_and_disliked,
    token_contributions,
    user_similarity,
)
from tests.prefgen import tiny


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoint") / "tiny.safetensors"
    return PreferenceModel(Checkpoint({"prefdisc": {}}, {}, path, "f" * 64), prefdisc=tiny.prefdisc())


@pytest.fixture(scope="module")
def targets():
    return [(pair.liked, "a cat") for pair in tiny.history(2, seed=7).pairs]


def test_a_person_is_like_themself_and_unlike_who_chose_the_other_images(model, targets):
    history = tiny.history()
    one, same, other = (
        compute_preference_direction(model, h, targets) for h in (history, history, swap_liked_and_disliked(history))
    )
    assert user_similarity(one, same) == pytest.approx(1)
    assert user_similarity(one, other) == pytest.approx(-1)
    assert token_contributions(one, same).sum().item() == pytest.approx(1, abs=1e-5)
    assert token_contributions(one, other).sum().item() == pytest.approx(-1, abs=1e-5)
    assert (token_contributions(one, same) > 0).all()
    assert len(one.tokens) == 3


def test_tokens_add_up_to_the_cosine_of_attention(model, targets):
    one, other = (compute_preference_direction(model, tiny.history(seed=seed), targets) for seed in (0, 1))
    cosine = torch.cosine_similarity(one.tokens.flatten(), other.tokens.flatten(), dim=0)
    assert token_contributions(one, other).sum().item() == pytest.approx(cosine.item(), abs=1e-5)
    assert -1 < user_similarity(one, other) < 1


def test_what_is_not_chosen_does_not_count(model, targets):
    """Pairs of twice the same image are images seen and no choice made."""
    history = tiny.history()
    nothing = UserHistory.from_images(*[torch.stack([pair.liked for pair in history.pairs])] * 2, name="undecided")
    undecided = compute_preference_direction(model, nothing, targets)
    assert undecided.sem.norm() == 0
    assert undecided.tokens.norm() == 0
    assert token_contributions(undecided, compute_preference_direction(model, history, targets)).tolist() == [0, 0, 0]


def test_progress_is_told_twice_a_person(model, targets):
    told = []
    compute_preference_direction(model, tiny.history(), targets, lambda: told.append(1))
    assert len(told) == 2


def test_without_targets_there_are_no_tokens_to_share(model):
    one, other = (compute_preference_direction(model, tiny.history(seed=seed), []) for seed in (0, 1))
    assert token_contributions(one, other).tolist() == [0, 0, 0]


def test_liked_images_alone_are_no_choice(model, targets):
    alone = LikedImages(tuple(pair.liked for pair in tiny.history().pairs), "ada")
    with pytest.raises(HistoryError, match="Dislike at least one image"):
        compute_preference_direction(model, alone, targets)
