"""Words drawn for each picture, inside ComfyUI's own sampling and on the real server."""

import dataclasses

import numpy as np
import pytest
import torch

from prefgen.adapter import Spoken
from tests.nodes.test_adapter_node import adapted, painted
from tests.prefgen.test_adapter import make_adapter, users
from tests.prefgen.test_words import WORDY

T = len(WORDY.words)


@pytest.fixture
def sampled(pack, pocket, monkeypatch):
    """Sample a batch with a patched MODEL: the keys that each call of the branch was given, and its latents."""
    import comfy.sample

    attention = pack("nodes.attention")

    def sample(seed, batch=2, **how):
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
            noise = comfy.sample.prepare_noise(latent, 1)
            made = comfy.sample.sample(
                patched, noise, 3, 2.0, "euler", "normal", told, empty, latent, disable_pbar=True, seed=seed
            )
        return keys, made

    return sample


def test_every_picture_of_a_batch_draws_for_itself_once(sampled, monkeypatch):
    counted, plain = [], Spoken.keys_values
    monkeypatch.setattr(Spoken, "keys_values", lambda self, noise=None: counted.append(1) or plain(self, noise))
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


def test_without_variety_all_pictures_have_the_likeliest_words(sampled):
    (keys, _), (others, _) = (sampled(seed, variety=0.0) for seed in (7, 8))
    assert all(torch.equal(k[0], k[1]) for k in keys)
    assert all(torch.equal(k, o) for k, o in zip(keys, others, strict=True))


def test_where_core_gives_more_images_than_were_drawn_for_they_begin_again(pack):
    rows = pack("nodes.attention")._for_images
    x = torch.arange(6.0).view(3, 2, 1)
    assert rows(x, 5)[:, 0, 0].tolist() == [0.0, 2.0, 4.0, 0.0, 2.0]
    assert rows(x[:1], 2).shape == (2, 2, 1)


def test_vocabulary_and_votes_are_all_that_a_draw_needs():
    adapter = make_adapter(WORDY)
    spoken = adapter.spoken(users(1))
    assert {field.name for field in dataclasses.fields(Spoken)} == {"votes", "sizes", "vocabulary"}
    assert spoken.votes.shape == (1, sum(WORDY.words))
    assert all(k.shape[1] == sum(WORDY.words) for k, _ in spoken.vocabulary.values())
    assert all(k.shape[1] == T for k, _ in spoken.keys_values().values())


@pytest.mark.server
def test_variety_is_in_the_picture_and_block_weights_and_windows_hold(comfy):
    drawn = painted(comfy, adapted(variety=1.0))
    assert np.array_equal(drawn, painted(comfy, adapted()))
    assert not np.array_equal(drawn, painted(comfy, adapted(variety=0.0)))
    chosen = painted(comfy, adapted(blocks="style"))
    assert not np.array_equal(drawn, chosen)
