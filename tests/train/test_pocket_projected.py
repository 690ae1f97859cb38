"""The adapter as PrefGen has it, trained on the pocket: on things that no evaluation asks for, by fuller captions."""

import shutil

import numpy as np
import pytest
import torch

from prefgen.checkpoint.preference_model import load_preference_model
from prefgen.pocket.shapes import weights_path
from train.data.posters import ATTRIBUTES
from train.loop import LoopConfig
from train.pocket import captions, generator, latents, text
from train.pocket import projected_adapter as projected
from train.pocket.people import HELD_OUT_SUBJECTS, VALIDATION_SUBJECTS


def test_it_begins_where_the_unet_understands_it(tmp_path, monkeypatch):
    small = latents.latent_pool
    monkeypatch.setattr(projected, "latent_pool", lambda folder: small(folder, count=64))
    monkeypatch.setattr(projected, "AGENTS", 4)
    monkeypatch.setattr(projected, "BATCH", 2)
    out = tmp_path / "checkpoint.safetensors"
    shutil.copyfile(weights_path("preference"), out)
    # So slow that nothing moves by as much as half precision can hold: where it began can be seen.
    still = LoopConfig(steps=2, learning_rate=1e-9, weight_decay=0.0, warmup=1, ema=0.0)
    projected.train(tmp_path, still, out=out)
    adapter, text_keys = (
        load_preference_model(out).require("adapter"),
        generator.load().get_submodule("down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k"),
    )
    block = adapter.blocks["input_4_0"]
    torch.testing.assert_close(block.to_k.weight, text_keys.weight, atol=1e-3, rtol=1e-3)  # half precision
    # And the strength that was chosen is written into the values.
    values = generator.load().get_submodule("down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_v").weight
    torch.testing.assert_close(block.to_v.weight, projected.STRENGTH * values, atol=1e-3, rtol=1e-3)


def test_no_thing_that_an_evaluation_asks_for_is_trained_on(tmp_path, monkeypatch):
    small, seen = latents.latent_pool, []
    monkeypatch.setattr(projected, "latent_pool", lambda folder: small(folder, count=256))
    monkeypatch.setattr(projected, "AGENTS", 4)

    def look(adapter, unet, schedule, batches, training, folder):
        seen.append(batches(0)[1])
        return adapter

    named = captions.sample_captions
    monkeypatch.setattr(projected, "sample_captions", lambda rows, *rest: seen.append(rows) or named(rows, *rest))
    monkeypatch.setattr(projected, "train_adapter", look)
    out = tmp_path / "checkpoint.safetensors"
    shutil.copyfile(weights_path("preference"), out)
    projected.train(tmp_path, out=out)
    indices, painted = seen
    names = np.array(list(ATTRIBUTES["subject"]))
    assert not set(names[indices[:, 0]]) & {*HELD_OUT_SUBJECTS, *VALIDATION_SUBJECTS}
    assert painted.teacher_captions is not None, "and fuller captions are the teacher's"


def test_captions_say_everything_and_prompts_little(monkeypatch):
    rng, encode = np.random.default_rng(0), text.load()
    rows = np.array([[0, 1, 2, 3, 1, 2], [1, 0, 3, 2, 1, 0]])
    full = ["a sun over the sea, sunset colours, checked sky, set aside, glowing"]
    full += ["a moon over hills, retro colours, dotted sky, set aside, flat"]
    monkeypatch.setattr(captions, "NAMES_MORE_SHARE", 0.0)
    monkeypatch.setattr(captions, "BLENDED_SUBJECT_SHARE", 0.0)
    prompt, fuller = captions.sample_captions(rows, rng, text.CachedTextEncoders(encode))
    for found, wanted in ((prompt, ["a sun", "a moon"]), (fuller, full)):
        for part, own in zip(found, encode(wanted), strict=True):
            torch.testing.assert_close(part, own, atol=0.02, rtol=0.01)  # kept in bfloat16
    # A thing between the two, in prompt and caption alike.
    monkeypatch.setattr(captions, "BLENDED_SUBJECT_SHARE", 1.0)
    suns = np.concatenate([rows[:1]] * 8 + [[[1, *rows[0, 1:]]]] * 8)
    between, fully = captions.sample_captions(suns, rng, text.CachedTextEncoders(encode))

    def share(found, sun, moon):
        return (found[:8] - sun) @ (moon - sun) / (moon - sun).square().sum()

    along = share(between[1], *prompt[1])
    assert ((along > -0.02) & (along < 1.02)).all()
    assert ((along > 0.05) & (along < 0.95)).any()
    all_told = encode([full[0], full[0].replace("a sun", "a moon")])[1]
    torch.testing.assert_close(share(fully[1], *all_told), along, atol=0.03, rtol=0)  # bfloat16 again


def test_a_share_of_the_prompts_names_more_than_the_thing():
    rng = np.random.default_rng(0)
    told = [captions.sample_named_attributes(rng) for _ in range(400)]
    assert all(names[0] == "subject" for names in told)
    # A quarter, each with one of five named half the time: three standard errors are .065.
    assert np.mean([len(names) > 1 for names in told]) == pytest.approx(0.25 * (1 - 0.5**5), abs=0.065)
