"""Words drawn for each picture, inside ComfyUI's own sampling and on the real server."""

import numpy as np
import pytest
import torch

from prefgen.adapter import Spoken
from tests.nodes.test_adapter_node import adapted, painted
from tests.prefgen.test_adapter import make_adapter, users
from tests.prefgen.test_codebook import WORDY


@pytest.fixture
def sampled(pack, pocket, monkeypatch):
    """Sample a batch with a patched MODEL: the keys that each call of the branch was given, and its latents."""
    import comfy.sample

    attention = pack("nodes.attention.unet")

    def sample(seed, batch=2, noises=None, **how):
        keys, plain = [], attention.decoupled_attention
        adapter = make_adapter(WORDY).eval()
        with torch.inference_mode(), monkeypatch.context() as watched:
            watched.setattr(attention, "decoupled_attention", lambda q, k, *r: keys.append(k) or plain(q, k, *r))
            model, clip = pocket.load_model(), pocket.load_clip()
            empty = clip.encode_from_tokens_scheduled(clip.tokenize(""))
            told = clip.encode_from_tokens_scheduled(clip.tokenize("a cactus"))
            pairs = adapter.for_users(users(1))
            patched = attention.patch_user_branch(model, pairs, spoken=adapter.spoken(users(1)), **how)
            latent = torch.zeros(batch, 4, 12, 12)
            noise = comfy.sample.prepare_noise(latent, 1, noises)
            made = comfy.sample.sample(
                patched, noise, 3, 2.0, "euler", "normal", told, empty, latent, disable_pbar=True, seed=seed
            )
        return keys, made

    return sample


def test_every_picture_of_a_batch_draws_for_itself_once(sampled, monkeypatch):
    counted, plain = [], Spoken.drawn
    monkeypatch.setattr(Spoken, "drawn", lambda self, noise: counted.append(1) or plain(self, noise))
    keys, _ = sampled(seed=7, variety=1.0)
    assert len(counted) == 1, "drawn and mixed where the sampling begins, and not at every step"
    assert all(len(k) == 2 and not torch.equal(k[0], k[1]) for k in keys)
    steps = len(keys) // len(WORDY.blocks)
    assert steps == 3
    for place in range(len(WORDY.blocks)):
        assert all(torch.equal(keys[place], keys[place + n * len(WORDY.blocks)]) for n in range(steps))


def test_the_seed_draws_and_the_same_seed_the_same(sampled):
    one, again, other = (sampled(seed, variety=1.0) for seed in (7, 7, 8))
    assert torch.equal(one[1], again[1])
    assert not torch.equal(one[0][0], other[0][0])


def test_a_picture_out_of_a_batch_keeps_its_words(sampled):
    batch, _ = sampled(seed=1, batch=3, variety=1.0)
    alone, _ = sampled(seed=1, batch=1, noises=[2], variety=1.0)
    alike, _ = sampled(seed=1, batch=2, noises=[1, 1], variety=1.0)
    for place in range(len(WORDY.blocks)):
        assert torch.equal(alone[place][0], batch[place][2])
        assert torch.equal(alike[place][0], batch[place][1]), "the same noise is the same picture"
        assert torch.equal(alike[place][1], batch[place][1])


def test_without_variety_all_pictures_have_the_likeliest_words(sampled):
    (keys, _), (others, _) = (sampled(seed, variety=0.0) for seed in (7, 8))
    assert all(torch.equal(k[0], k[1]) for k in keys)
    assert all(torch.equal(k, o) for k, o in zip(keys, others, strict=True))


@pytest.mark.parametrize("seed", [None, -3, 2**64 + 5])
def test_any_seed_that_a_pack_may_give_draws(sampled, seed):
    keys, _ = sampled(seed, variety=1.0)
    assert all(torch.isfinite(k).all() for k in keys)


def test_where_another_number_of_images_comes_than_was_drawn_for_all_have_the_likeliest(pack):
    attention = pack("nodes.attention.unet")
    k, v = torch.ones(1, 2, 4), torch.ones(1, 2, 4)
    patch = attention.UserPatch(k, v, drawn=("entry", "input.4.0"))
    own = (torch.zeros(3, 2, 4), torch.zeros(3, 2, 4))
    options = {"entry": {"input.4.0": own}}
    assert patch._liked(options, 3) is own
    assert patch._liked(options, 2) == patch._liked({}, 3) == (k, v)


def test_disliked_images_push_by_the_odds_of_what_they_speak_for_and_not_by_what_all_like(pack):
    making, adapter, strengths = (
        pack("nodes.attention.keys_values"),
        make_adapter(WORDY),
        {"sem": 0.0, "core": 0.0, "img": 1.0},
    )
    weights = {name: 1.0 for name, _ in WORDY.blocks}
    with torch.no_grad():
        adapter.choice.votes["img"].weight.zero_()
        adapter.choice.votes["img"].bias.zero_()
        adapter.choice.prior.copy_(torch.tensor([9.0, 0, 0, 9, 0, 9, 0, 0, 0]))
        pushed = making.led_away_from(adapter, users(1), strengths, weights, "it")
        words = adapter.keys_values(adapter.choice.words()[None], strengths)
    for block, (k, _) in words.items():
        evenly = torch.stack([part.mean(1) for part in k.split(list(WORDY.words), dim=1)], dim=1)
        torch.testing.assert_close(pushed[block][0], evenly)


def test_weights_that_push_to_what_is_no_number_are_refused(pack):
    making, adapter, strengths = (
        pack("nodes.attention.keys_values"),
        make_adapter(WORDY),
        {"sem": 0.0, "core": 0.0, "img": 1.0},
    )
    weights = {name: 1.0 for name, _ in WORDY.blocks}
    adapter.choice.prior.data[0] = -torch.inf
    with pytest.raises(ValueError, match="The adapter of it gives NaN"):
        making.led_away_from(adapter, users(1), strengths, weights, "it")


@pytest.mark.server
def test_variety_is_in_the_picture_and_what_else_the_node_says_holds_for_what_is_drawn(comfy):
    drawn = painted(comfy, adapted(variety=1.0))
    assert np.array_equal(drawn, painted(comfy, adapted())), "1 is what workflows without it have"
    assert not np.array_equal(drawn, painted(comfy, adapted(variety=0.0)))
    plain = painted(comfy, lambda graph: graph.paint())
    assert np.array_equal(painted(comfy, adapted(start=0.95)), plain), "no step of three is so late"
    for less in ({"start": 0.5}, {"block_weights": ", ".join(["0"] * 10 + ["1"])}):
        image = painted(comfy, adapted(**less))
        assert not np.array_equal(image, plain)
        assert not np.array_equal(image, drawn)


@pytest.mark.server
def test_two_people_in_a_row_both_draw(comfy):
    def second(graph):
        return adapted(seed=1).model(graph)

    both, one = painted(comfy, adapted(before=second)), painted(comfy, adapted())
    assert not np.array_equal(both, one)
    assert np.array_equal(both, painted(comfy, adapted(before=second)))
