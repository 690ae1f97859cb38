"""Tests that packed batches give the same scores as PrefDisc with one candidate and one history."""

import numpy as np
import pytest
import torch

from prefgen.embedding import encode_user
from prefgen.history import UserHistory
from train.evaluate.prefdisc_scoring import (
    EncodedGallery,
    score_after_pairs,
    score_targets,
    score_without_history,
    sem_embeddings,
    target_hidden_states,
)

# float32 with other batch shapes
CLOSE = 2e-4


def history_of(gallery, rows) -> UserHistory:
    liked, disliked = (gallery.images[rows[:, side]].float() / 255 for side in (0, 1))
    return UserHistory.from_images(liked, disliked, gallery.prompts(rows[:, 0]).tolist())


def test_scores_are_those_of_the_library(model, gallery, encoded, trials):
    packed = score_targets(encoded, trials.history, trials.targets)
    assert packed.shape == (12, 5, 2)
    for user in (0, 7):
        prefix = model.prefdisc.encode(history_of(gallery, trials.history[user]))
        rows = trials.targets[user].ravel()
        alone = model.prefdisc.score(prefix, gallery.images[rows].float() / 255, gallery.prompts(rows).tolist())
        assert packed[user].ravel() == pytest.approx(alone.detach().numpy(), abs=CLOSE)


def test_without_history_a_score_is_nobodys(model, gallery, encoded, trials):
    everyone = score_without_history(encoded)
    alone = model.prefdisc.score(None, gallery.images[:6].float() / 255, gallery.prompts(np.arange(6)).tolist())
    assert everyone[:6] == pytest.approx(alone.detach().numpy(), abs=CLOSE)
    after = score_after_pairs(encoded, trials.history, trials.targets, [0, 3, 8])
    assert after[0] == pytest.approx(everyone[trials.targets], abs=CLOSE)
    assert after[1] == pytest.approx(score_targets(encoded, trials.history[:, :3], trials.targets), abs=CLOSE)
    assert after[2] == pytest.approx(score_targets(encoded, trials.history, trials.targets), abs=CLOSE)
    assert np.abs(after[2] - after[0]).max() > 0.05, "the history changes scores"


def test_a_variant_without_words_reads_none(encoded, trials):
    silent = EncodedGallery(encoded.prefdisc, encoded.gallery, encoded.features, use_prompts=False)
    assert (
        np.abs(
            score_targets(silent, trials.history, trials.targets)
            - score_targets(encoded, trials.history, trials.targets)
        ).max()
        > 0
    )


def test_sem_is_that_of_the_user_embedding(model, gallery, encoded, trials):
    packed = sem_embeddings(encoded, trials.history)
    alone = encode_user(model, history_of(gallery, trials.history[3])).sem
    assert packed[3] == pytest.approx(alone.numpy(), abs=10 * CLOSE)  # states are larger than scores


def test_states_at_targets_are_those_the_logits_are_read_from(encoded, trials):
    states = target_hidden_states(encoded, trials.history, trials.targets[..., 0])
    q = encoded.prefdisc.label_logits(torch.from_numpy(states)).softmax(-1)[..., 0]
    assert q.detach().numpy() == pytest.approx(
        score_targets(encoded, trials.history, trials.targets)[..., 0], abs=CLOSE
    )
