"""Words: how parts vote, what a picture draws, and that drawing keeps to the odds."""

import dataclasses
import json

import pytest
import torch

from prefgen.adapter import PARTS, AdapterConfig, PreferenceAdapter, UserParts, gumbel_noise
from prefgen.adapter.words import choose
from prefgen.errors import CheckpointError
from tests.prefgen.test_adapter import CONFIG, make_adapter, users

SIZES = (3, 2, 4)
WORDY = dataclasses.replace(CONFIG, fusion="words", words=SIZES, sem_tokens=3, core_tokens=3, img_tokens=3)


def test_the_config_survives_json_and_counts_a_token_a_place():
    assert AdapterConfig.from_dict(json.loads(json.dumps(WORDY.to_dict()))) == WORDY
    assert WORDY.num_tokens == 3


@pytest.mark.parametrize(
    "changes",
    [{"words": ()}, {"fusion": "concatenation"}, {"words": (3, 0, 4)}, {"img_tokens": 2}, {"words": (3, 2)}],
    ids=str,
)
def test_words_that_do_not_fit_are_refused(changes):
    with pytest.raises(CheckpointError, match=r"words|tokens"):
        dataclasses.replace(WORDY, **changes)


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
    for drawn, wanted in (
        (spoken.keys_values(), adapter.for_users(own, strengths)),
        (spoken.keys_values(noise), adapter.for_users(twice, strengths, noise)),
    ):
        for block, pair in wanted.items():
            for found, half in zip(drawn[block], pair, strict=True):
                torch.testing.assert_close(found, half)


def test_training_reaches_votes_and_words():
    adapter = PreferenceAdapter(WORDY)
    adapter.user_tokens(users()).square().mul(torch.randn(3, 192)).sum().backward()
    named = {name for name, p in adapter.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    assert {"choice.table", "choice.prior", *(f"choice.votes.{part}.weight" for part in PARTS)} <= named
