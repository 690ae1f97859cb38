"""Tests clustering, neighbours, user search and attention on cases with known answers."""

import numpy as np
import pytest
import torch

from prefgen.prefdisc.token_attention import record_attention
from train.evaluate.attention import (
    attention_on_tokens,
    attention_patterns,
    pattern_similarity,
    shuffled_histories,
    subjects_of_one_length,
    variance_between_users,
)
from train.evaluate.choice_trials import draw_trials
from train.evaluate.clusters import clustering, mean_clustering, same_targets
from train.evaluate.prefdisc_scoring import score_targets
from train.evaluate.similar import find_similar_users
from train.evaluate.tsne import own_neighbours


@pytest.fixture
def groups():
    return np.arange(90) % 3


def islands(groups, width=8, spread=0.1):
    rng = np.random.default_rng(0)
    return 5 * rng.normal(size=(3, width))[groups] + spread * rng.normal(size=(len(groups), width))


def test_clusters_that_are_there_are_found(groups):
    found = clustering(islands(groups), groups, 3)
    assert found["adjusted_rand"] == 1
    assert found["silhouette"] > 0.9
    assert found["davies_bouldin"] < 0.1
    fog = np.random.default_rng(1).normal(size=(90, 8))
    lost = clustering(fog, groups, 3)
    assert abs(lost["adjusted_rand"]) < 0.1
    assert lost["silhouette"] < 0.3
    both = mean_clustering(np.stack([islands(groups), fog], axis=1), groups, 3)
    assert both["silhouette"] == pytest.approx((found["silhouette"] + lost["silhouette"]) / 2)


def test_everybody_judges_the_same_targets():
    rows = same_targets(48, 7, np.random.default_rng(0), targets=3)
    assert rows.shape == (7, 3)
    assert (rows == rows[0]).all()
    assert len(set(rows[0])) == 3


def test_neighbours_of_ones_own(groups):
    assert own_neighbours(islands(groups), groups, k=10) == 1
    fog = np.random.default_rng(1).normal(size=(90, 8))
    assert own_neighbours(fog, groups, k=10) == pytest.approx(29 / 89, abs=0.08)


def test_similar_users_are_found(groups):
    # A large common component, which would make all users similar.
    embeddings = islands(groups) + 100
    rows, cosines = find_similar_users(embeddings, embeddings, 5, exclude=np.arange(90))
    assert (groups[rows] == groups[:, None]).all()
    assert not (rows == np.arange(90)[:, None]).any()
    assert (np.diff(cosines, axis=1) <= 0).all()
    assert find_similar_users(embeddings, embeddings[4], 1)[0].tolist() == [[4]]
    with pytest.raises(ValueError, match="1 to 89"):
        find_similar_users(embeddings, embeddings, 90, exclude=np.arange(90))


def test_attention_is_of_the_targets_image_on_the_preference_tokens(encoded, trials):
    # The same two posters, liked by some users and disliked by others, so that positions are the same for all.
    history = np.zeros_like(trials.history) + np.where(np.arange(12) < 6, [[0], [1]], [[1], [0]]).T[:, None]
    found = attention_on_tokens(encoded, history, target=9)
    spec, text = encoded.prefdisc.spec, encoded.prefdisc.base.config.text_config
    images = encoded.prefdisc.template.images_per_turn
    shape = (12, text.num_hidden_layers, text.num_attention_heads, images, spec.num_tokens)
    assert found.shape == shape
    assert (found >= 0).all()
    assert (found.sum(-1) <= 1 + 1e-5).all()
    # Queries of the first layer depend on the target only; the history has an effect from the second layer on.
    divided = found / found.sum(-1, keepdims=True)
    assert divided[0, 0] == pytest.approx(divided[11, 0], abs=1e-4)
    patterns = attention_patterns(found)
    assert patterns.shape[1] == text.num_hidden_layers - 1
    assert patterns.sum(-1) == pytest.approx(np.ones(patterns.shape[:-1]), abs=1e-5)
    assert np.abs(patterns[0] - patterns[11]).max() > 1e-3


def test_histories_for_attention_are_of_one_length(encoded, world):
    subjects = subjects_of_one_length(encoded)
    rng = np.random.default_rng(0)
    history = draw_trials(world, encoded.gallery, world.sample(20, rng)[0], 1, rng, subjects=subjects).history
    prompts = encoded.gallery.prompts(history[..., 0])
    assert {len(encoded.prefdisc.template.unlabelled_turn(prompt)) for prompt in prompts.ravel().tolist()} == {5}
    assert len(np.unique(prompts)) > 5


def test_what_is_kept_is_what_was_used(encoded, trials):
    text = encoded.prefdisc.base.model.text_model
    before = text.config._attn_implementation
    plain = score_targets(encoded, trials.history[:3], trials.targets[:3])
    with record_attention(encoded.prefdisc) as kept:
        watched = score_targets(encoded, trials.history[:3], trials.targets[:3])
        assert len(kept) == len(text.layers)
        assert kept[0].sum(-1) == pytest.approx(torch.ones_like(kept[0].sum(-1)), abs=1e-5)
    score_targets(encoded, trials.history[:3], trials.targets[:3])
    assert len(kept) == len(text.layers), "nothing is recorded afterwards"
    assert text.config._attn_implementation == before
    assert watched == pytest.approx(plain, abs=2e-4)  # float32, another order of sums


def test_orders_of_a_history_hold_the_same_pairs(trials):
    orders = shuffled_histories(trials.history, 3, np.random.default_rng(0))
    assert orders.shape == (3, *trials.history.shape)
    assert not np.array_equal(orders[0], orders[1])
    for order in orders:
        for user, own in zip(order, trials.history, strict=True):
            assert sorted(map(tuple, user)) == sorted(map(tuple, own))


def test_variance_between_users(groups):
    rng = np.random.default_rng(0)
    users, noise = rng.normal(size=(1, 90, 6)), rng.normal(size=(5, 90, 6))
    assert variance_between_users(users + 0 * noise) == pytest.approx(1)
    assert variance_between_users(noise) < 0.1
    assert variance_between_users(users + noise) == pytest.approx(0.5, abs=0.07)
    assert pattern_similarity(islands(groups))[0, 3] > 0.9
