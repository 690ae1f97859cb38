"""Words: how parts vote, what a picture draws, and that drawing keeps to the odds."""

import dataclasses
import json

import pytest
import torch

from prefgen.adapter import PARTS, AdapterConfig, PreferenceAdapter, UserParts, gumbel_noise
from prefgen.adapter.codebook import choose
from prefgen.errors import CheckpointError
from tests.prefgen.test_adapter import CONFIG, make_adapter, users

SIZES = (3, 2, 4)
WORDY = dataclasses.replace(CONFIG, fusion="words", words=SIZES, sem_tokens=3, core_tokens=3, img_tokens=3)


def test_the_config_survives_json_and_counts_a_token_a_place():
    assert AdapterConfig.from_dict(json.loads(json.dumps(WORDY.to_dict()))) == WORDY
    assert WORDY.num_tokens == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"words": ()}, r"'words' and its words a place are \[\]"),
        ({"fusion": "concatenation"}, r"'concatenation' and its words a place are \[3, 2, 4\]"),
        ({"words": [3, 0, 4]}, "whole numbers above 0"),
        ({"words": [3, 2.5, 4]}, "whole numbers above 0"),
        ({"words": [3, 2, float("inf")]}, "whole numbers above 0"),
        ({"words": "324"}, "whole numbers above 0"),
        ({"words": [3, 2, 10**9]}, "65536 words at most"),
        ({"words": 7}, "cannot be read"),
        ({"img_tokens": 2}, "3, 3 and 2 tokens, expected 3"),
        ({"words": [3, 2]}, "3, 3 and 3 tokens, expected 2"),
        ({"hidden": 8}, "hidden width is 8, expected 0"),
    ],
    ids=str,
)
def test_words_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(CheckpointError, match=message) as caught:
        AdapterConfig.from_dict(WORDY.to_dict() | changes)
    assert ("cannot be read" in str(caught.value)) == (changes == {"words": 7}), "a sentence is not wrapped in another"


def test_a_place_takes_its_own_likeliest_word():
    votes = torch.tensor([[0.0, 9.0, 0.0, 0.0, -9.0, 0.0, 0.0, 0.0, 9.0]])
    chosen = choose(votes, SIZES)
    assert chosen.shape == (1, 3, 9)
    torch.testing.assert_close(chosen.sum(-1), torch.ones(1, 3))
    assert chosen.argmax(-1).tolist() == [[1, 3, 8]]
    assert chosen.max(-1).values.min() > 0.99


def test_words_are_drawn_with_the_odds_of_their_votes():
    odds = torch.tensor([0.6, 0.3, 0.1])
    drawn = choose(odds.log()[None], (3,), gumbel_noise([(seed, 0) for seed in range(2000)], 3))
    found = drawn[:, 0].argmax(-1).bincount(minlength=3) / len(drawn)
    # Three standard errors of a share of 2,000.
    assert (found - odds).abs().max() < 3 * (0.6 * 0.4 / 2000) ** 0.5


def test_a_picture_draws_the_same_whenever_it_is_painted_and_others_draw_others():
    both = gumbel_noise([(7, 0), (7, 1)], 9)
    assert torch.equal(both[1:], gumbel_noise([(7, 1)], 9))
    assert not torch.equal(both[0], both[1])
    assert not torch.equal(both[:1], gumbel_noise([(8, 0)], 9))
    assert torch.isfinite(gumbel_noise([(2**64 - 1, 3)], 9)).all(), "the largest seed there is"


def test_parts_vote_together_and_one_turned_off_has_no_say():
    adapter, own = make_adapter(WORDY), users()
    other = UserParts(own.sem.roll(1, 0), own.core, own.img)
    assert not torch.equal(adapter.user_tokens(own), adapter.user_tokens(other))
    silent = {"sem": 0.0, "core": 1.0, "img": 1.0}
    torch.testing.assert_close(adapter.user_tokens(own, silent), adapter.user_tokens(other, silent))


def test_strength_is_how_loudly_words_are_spoken_and_not_which():
    adapter, own = make_adapter(WORDY), users()
    once, twice = (adapter.for_users(own, dict.fromkeys(PARTS, strength)) for strength in (1.0, 2.0))
    for block, (k, v) in once.items():
        torch.testing.assert_close(twice[block][0], k)
        torch.testing.assert_close(twice[block][1], 2 * v)


def test_what_is_spoken_gives_the_keys_and_values_of_the_words_drawn():
    adapter, own = make_adapter(WORDY), users(1)
    strengths, noise = {"sem": 0.5, "core": 1.0, "img": 0.0}, gumbel_noise([(1, 0), (1, 1)], sum(SIZES))
    spoken = adapter.spoken(own, strengths)
    twice = UserParts(*(part.expand(2, -1) for part in own))
    drawn = spoken.drawn(noise)
    for block, pair in adapter.for_users(twice, strengths, noise).items():
        for found, half in zip(drawn[block], pair, strict=True):
            torch.testing.assert_close(found, half)


def test_all_that_may_be_drawn_is_the_mean_of_what_is():
    spoken = make_adapter(WORDY).spoken(users(1))
    # A lower temperature than the Gumbel-softmax's would be the hard draw; sharper votes come close to it.
    sure = dataclasses.replace(spoken, votes=3 * spoken.votes)
    drawn, meant = sure.drawn(gumbel_noise([(seed, 0) for seed in range(4000)], sum(SIZES))), sure.meant()
    for block, (k, _) in meant.items():
        # Words are taken softly, which moves the mean a little; values are about 1.
        assert (drawn[block][0].mean(0) - k[0]).abs().mean() < 0.1 * k.abs().mean()


def test_training_reaches_votes_and_words():
    adapter = PreferenceAdapter(WORDY)
    adapter.user_tokens(users()).square().mul(torch.randn(3, 192)).sum().backward()
    named = {name for name, p in adapter.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    assert {"choice.table", "choice.prior", *(f"choice.votes.{part}.weight" for part in PARTS)} <= named
