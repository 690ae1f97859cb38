"""Codebooks: how parts add up to logits, and that sampling follows their probabilities."""

import dataclasses
import json

import pytest
import torch

from prefgen.adapter import PARTS, AdapterConfig, PreferenceAdapter, UserParts, gumbel_noise
from prefgen.adapter.codebook import gumbel_softmax_weights
from prefgen.adapter.config import upgrade_adapter
from prefgen.errors import CheckpointError
from tests.prefgen.test_adapter import CONFIG, make_adapter, users

SIZES = (3, 2, 4)
CODEBOOK = dataclasses.replace(
    CONFIG, fusion="codebook", codebook_sizes=SIZES, sem_tokens=3, core_tokens=3, img_tokens=3
)


def test_the_config_survives_json_and_counts_a_token_for_each_codebook():
    assert AdapterConfig.from_dict(json.loads(json.dumps(CODEBOOK.to_dict()))) == CODEBOOK
    assert CODEBOOK.num_tokens == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"codebook_sizes": ()}, r"of 'codebook' is \[\]"),
        ({"fusion": "concatenation"}, r"of 'concatenation' is \[3, 2, 4\]; expected none"),
        ({"codebook_sizes": [3, 0, 4]}, "whole numbers above 0"),
        ({"codebook_sizes": [3, 2.5, 4]}, "whole numbers above 0"),
        ({"codebook_sizes": [3, 2, float("inf")]}, "whole numbers above 0"),
        ({"codebook_sizes": "324"}, "whole numbers above 0"),
        ({"codebook_sizes": [3, 2, 10**9]}, "at most 65536 in total"),
        ({"codebook_sizes": 7}, "cannot be read"),
        ({"img_tokens": 2}, "'img': 2}; expected 3, one for each codebook"),
        ({"codebook_sizes": [3, 2]}, "'img': 3}; expected 2, one for each codebook"),
        ({"hidden": 8}, "hidden is 8; expected 0"),
    ],
    ids=str,
)
def test_codebooks_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(CheckpointError, match=message) as caught:
        AdapterConfig.from_dict(CODEBOOK.to_dict() | changes)
    assert ("cannot be read" in str(caught.value)) == (changes == {"codebook_sizes": 7}), (
        "a sentence is not wrapped in another"
    )


def test_a_token_takes_the_most_likely_entry_of_its_codebook():
    logits = torch.tensor([[0.0, 9.0, 0.0, 0.0, -9.0, 0.0, 0.0, 0.0, 9.0]])
    chosen = gumbel_softmax_weights(logits, SIZES)
    assert chosen.shape == (1, 3, 9)
    torch.testing.assert_close(chosen.sum(-1), torch.ones(1, 3))
    assert chosen.argmax(-1).tolist() == [[1, 3, 8]]
    assert chosen.max(-1).values.min() > 0.99


def test_entries_are_sampled_by_their_probabilities():
    odds = torch.tensor([0.6, 0.3, 0.1])
    drawn = gumbel_softmax_weights(odds.log()[None], (3,), gumbel_noise([(seed, 0) for seed in range(2000)], 3))
    found = drawn[:, 0].argmax(-1).bincount(minlength=3) / len(drawn)
    # Three standard errors of a share of 2,000.
    assert (found - odds).abs().max() < 3 * (0.6 * 0.4 / 2000) ** 0.5


def test_noise_depends_on_the_seed_and_the_index_alone():
    both = gumbel_noise([(7, 0), (7, 1)], 9)
    assert torch.equal(both[1:], gumbel_noise([(7, 1)], 9))
    assert not torch.equal(both[0], both[1])
    assert not torch.equal(both[:1], gumbel_noise([(8, 0)], 9))
    assert torch.isfinite(gumbel_noise([(2**64 - 1, 3)], 9)).all(), "the largest seed there is"


def test_parts_add_up_to_the_logits_and_strength_0_leaves_one_out():
    adapter, own = make_adapter(CODEBOOK), users()
    other = UserParts(own.sem.roll(1, 0), own.core, own.img)
    assert not torch.equal(adapter.user_tokens(own), adapter.user_tokens(other))
    silent = {"sem": 0.0, "core": 1.0, "img": 1.0}
    torch.testing.assert_close(adapter.user_tokens(own, silent), adapter.user_tokens(other, silent))


def test_strength_scales_the_values_and_not_the_logits():
    adapter, own = make_adapter(CODEBOOK), users()
    once, twice = (adapter.for_users(own, dict.fromkeys(PARTS, strength)) for strength in (1.0, 2.0))
    for block, (k, v) in once.items():
        torch.testing.assert_close(twice[block][0], k)
        torch.testing.assert_close(twice[block][1], 2 * v)


def test_the_logits_give_the_keys_and_values_of_the_sampled_tokens():
    adapter, own = make_adapter(CODEBOOK), users(1)
    strengths, noise = {"sem": 0.5, "core": 1.0, "img": 0.0}, gumbel_noise([(1, 0), (1, 1)], sum(SIZES))
    logits = adapter.codebook_logits(own, strengths)
    twice = UserParts(*(part.expand(2, -1) for part in own))
    drawn = logits.sample(noise)
    for block, pair in adapter.for_users(twice, strengths, noise).items():
        for found, half in zip(drawn[block], pair, strict=True):
            torch.testing.assert_close(found, half)


def test_the_expected_keys_and_values_are_the_mean_of_samples():
    logits = make_adapter(CODEBOOK).codebook_logits(users(1))
    # A lower temperature than the Gumbel-softmax's would be the hard draw; sharper logits come close to it.
    sure = dataclasses.replace(logits, logits=3 * logits.logits)
    drawn, expected = sure.sample(gumbel_noise([(seed, 0) for seed in range(4000)], sum(SIZES))), sure.expected()
    for block, (k, _) in expected.items():
        # Words are taken softly, which moves the mean a little; values are about 1.
        assert (drawn[block][0].mean(0) - k[0]).abs().mean() < 0.1 * k.abs().mean()


def test_training_reaches_logits_and_entries():
    adapter = PreferenceAdapter(CODEBOOK)
    adapter.user_tokens(users()).square().mul(torch.randn(3, 192)).sum().backward()
    named = {name for name, p in adapter.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    assert {"codebook.table", "codebook.prior", *(f"codebook.to_logits.{part}.weight" for part in PARTS)} <= named


def test_a_checkpoint_with_the_old_names_is_upgraded():
    adapter = make_adapter(CODEBOOK)
    config = CODEBOOK.to_dict() | {"fusion": "words", "words": list(SIZES)}
    del config["codebook_sizes"]
    old = {"codebook.to_logits.": "choice.votes.", "codebook.": "choice."}
    tensors = adapter.state_dict()
    for new, before in old.items():
        tensors = {f"{before}{n.removeprefix(new)}" if n.startswith(new) else n: x for n, x in tensors.items()}
    assert "choice.votes.sem.weight" in tensors
    config, tensors = upgrade_adapter(config, tensors)
    assert AdapterConfig.from_dict(config) == CODEBOOK
    adapter.load_state_dict(tensors)


def test_upgrading_leaves_todays_names_alone():
    adapter = make_adapter(CODEBOOK)
    config, tensors = upgrade_adapter(CODEBOOK.to_dict(), adapter.state_dict())
    assert config == CODEBOOK.to_dict()
    assert tensors.keys() == adapter.state_dict().keys()
