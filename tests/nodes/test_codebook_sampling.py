"""Codebook entries sampled for each image, inside ComfyUI's own sampling and on the real server."""

import dataclasses

import numpy as np
import pytest
import torch

from prefgen.adapter import CodebookLogits
from prefgen.checkpoint.file import write_part
from prefgen.checkpoint.preference_model import load_preference_model
from prefgen.errors import CheckpointError
from tests.nodes.test_adapter_node import adapted, painted
from tests.prefgen.test_adapter import make_adapter, users
from tests.prefgen.test_codebook import CODEBOOK
from train.adapter.fit import write_adapter


@pytest.fixture
def sampled(pack, pocket, monkeypatch):
    """Sample a batch with a patched MODEL: the keys that each call of the branch was given, and its latents."""
    import comfy.sample

    attention = pack("nodes.attention.unet")

    def sample(seed, batch=2, noises=None, **how):
        keys, plain = [], attention.decoupled_attention
        adapter = make_adapter(CODEBOOK).eval()
        with torch.inference_mode(), monkeypatch.context() as watched:
            watched.setattr(attention, "decoupled_attention", lambda q, k, *r: keys.append(k) or plain(q, k, *r))
            model, clip = pocket.load_model(), pocket.load_clip()
            empty = clip.encode_from_tokens_scheduled(clip.tokenize(""))
            told = clip.encode_from_tokens_scheduled(clip.tokenize("a cactus"))
            pairs = adapter.for_users(users(1))
            patched = attention.patch_user_attention(model, pairs, codebook=adapter.codebook_logits(users(1)), **how)
            latent = torch.zeros(batch, 4, 12, 12)
            noise = comfy.sample.prepare_noise(latent, 1, noises)
            made = comfy.sample.sample(
                patched, noise, 3, 2.0, "euler", "normal", told, empty, latent, disable_pbar=True, seed=seed
            )
        return keys, made

    return sample


def test_every_picture_of_a_batch_draws_for_itself_once(sampled, monkeypatch):
    counted, plain = [], CodebookLogits.sample
    monkeypatch.setattr(CodebookLogits, "sample", lambda self, noise: counted.append(1) or plain(self, noise))
    keys, _ = sampled(seed=7, variety=1.0)
    assert len(counted) == 1, "drawn and mixed where the sampling begins, and not at every step"
    assert all(len(k) == 2 and not torch.equal(k[0], k[1]) for k in keys)
    steps = len(keys) // len(CODEBOOK.blocks)
    assert steps == 3
    for place in range(len(CODEBOOK.blocks)):
        assert all(torch.equal(keys[place], keys[place + n * len(CODEBOOK.blocks)]) for n in range(steps))


def test_the_seed_draws_and_the_same_seed_the_same(sampled):
    one, again, other = (sampled(seed, variety=1.0) for seed in (7, 7, 8))
    assert torch.equal(one[1], again[1])
    assert not torch.equal(one[0][0], other[0][0])


def test_a_picture_out_of_a_batch_keeps_its_words(sampled):
    batch, _ = sampled(seed=1, batch=3, variety=1.0)
    alone, _ = sampled(seed=1, batch=1, noises=[2], variety=1.0)
    alike, _ = sampled(seed=1, batch=2, noises=[1, 1], variety=1.0)
    for place in range(len(CODEBOOK.blocks)):
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
    patch = attention.UserAttentionPatch(k, v, sampled=("entry", "input.4.0"))
    own = (torch.zeros(3, 2, 4), torch.zeros(3, 2, 4))
    options = {"entry": {"input.4.0": own}}
    assert patch._positive(options, 3) is own
    assert patch._positive(options, 2) == patch._positive({}, 3) == (k, v)


def test_disliked_images_push_by_the_odds_of_what_they_speak_for_and_not_by_what_all_like():
    adapter, strengths = make_adapter(CODEBOOK), {"sem": 0.0, "core": 0.0, "img": 1.0}
    weights = {name: 1.0 for name, _ in CODEBOOK.blocks}
    with torch.no_grad():
        adapter.codebook.to_logits["img"].weight.zero_()
        adapter.codebook.to_logits["img"].bias.zero_()
        adapter.codebook.prior.copy_(torch.tensor([9.0, 0, 0, 9, 0, 9, 0, 0, 0]))
        pushed = adapter.negative_keys_values(users(1), strengths, weights)
        entries = adapter.keys_values(adapter.codebook.entries()[None], strengths)
    for block, (k, _) in entries.items():
        evenly = torch.stack([part.mean(1) for part in k.split(list(CODEBOOK.codebook_sizes), dim=1)], dim=1)
        torch.testing.assert_close(pushed[block][0], evenly)


def test_weights_that_push_to_what_is_no_number_are_refused(tmp_path):
    path = tmp_path / "it.safetensors"
    adapter = make_adapter(CODEBOOK)
    adapter.codebook.prior.data[0] = -torch.inf
    write_part(path, "alignment", dataclasses.asdict(adapter.alignment.config), adapter.alignment.state_dict())
    write_adapter(path, adapter)
    with pytest.raises(CheckpointError, match=r"it\.safetensors has NaN or infinity in adapter\.codebook\.prior"):
        load_preference_model(path)


@pytest.mark.server
def test_variety_is_in_the_picture_and_what_else_the_node_says_holds_for_what_is_drawn(comfy):
    drawn = painted(comfy, adapted(variety=1.0))
    assert np.array_equal(drawn, painted(comfy, adapted())), "1 is what workflows without it have"
    assert not np.array_equal(drawn, painted(comfy, adapted(variety=0.0)))
    plain = painted(comfy, lambda graph: graph.paint())
    assert np.array_equal(painted(comfy, adapted(start_percent=0.95)), plain), "no step of three is so late"
    for less in ({"start_percent": 0.5}, {"block_weights": ", ".join(["0"] * 10 + ["1"])}):
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
