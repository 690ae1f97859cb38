"""The pocket adapter's training: words without a user, then votes for them."""

import shutil

import numpy as np
import torch

from prefgen.adapter.codebook import Codebook, gumbel_softmax_weights
from prefgen.checkpoint.preference_model import load_preference_model
from prefgen.pocket.shapes import weights_path
from train.data.posters import ATTRIBUTES
from train.loop import LoopConfig
from train.pocket import adapter, generator, latents, text
from train.pocket.__main__ import trainer
from train.pocket.people import HELD_OUT_SUBJECTS, VALIDATION_SUBJECTS

STILL = LoopConfig(steps=2, learning_rate=1e-9, weight_decay=0.0, warmup=1, ema=0.0)


def small(monkeypatch, posters):
    pool = latents.latent_pool
    monkeypatch.setattr(adapter, "latent_pool", lambda folder: pool(folder, count=posters))
    monkeypatch.setattr(adapter, "AGENTS", 4)
    monkeypatch.setattr(adapter, "BATCH", 2)


def test_a_training_ends_in_the_checkpoint_that_it_was_given(tmp_path, monkeypatch):
    small(monkeypatch, 64)
    out = tmp_path / "checkpoint.safetensors"
    shutil.copyfile(weights_path("preference"), out)
    adapter.train(tmp_path, STILL, out=out, strength=0.5)
    made = load_preference_model(out)
    assert made.adapter.config.codebook_sizes == (3, 8, 5, 4, 4)
    assert made.header["training"]["adapter"]["held_back"] == list(HELD_OUT_SUBJECTS)
    assert made.encoder_fingerprint == load_preference_model("pocket").encoder_fingerprint
    # So slow that nothing moved: keys and values are the text's, values at the strength that was asked for.
    block, attention = "input_4_0", "down_blocks.1.attentions.0.transformer_blocks.0.attn2"
    wanted = generator.load().get_submodule(attention)
    torch.testing.assert_close(made.adapter.blocks[block].to_k.weight, wanted.to_k.weight, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(made.adapter.blocks[block].to_v.weight, wanted.to_v.weight / 2, atol=1e-3, rtol=1e-3)


def test_what_settings_are_chosen_with_has_seen_no_thing_of_the_choice(tmp_path, monkeypatch):
    asked = {}
    monkeypatch.setattr(adapter, "train", lambda folder, **how: asked.update(how))
    file = trainer("adapter_for_choosing")(tmp_path)
    assert load_preference_model(file).encoder_fingerprint == load_preference_model("pocket").encoder_fingerprint
    assert set(asked["held_back"]) == {*HELD_OUT_SUBJECTS, *VALIDATION_SUBJECTS}
    assert (str(asked["out"]), asked["strength"]) == (file, 1.0), "the strength is what is to be chosen"


def test_words_are_learnt_for_the_values_of_posters_and_not_with_things_held_back(tmp_path, monkeypatch):
    small(monkeypatch, 256)
    seen = {}

    def look(learner, unet, schedule, batches, training, folder):
        seen["users"], seen["painted"] = batches(0)
        return learner

    named = adapter.sample_captions
    monkeypatch.setattr(adapter, "sample_captions", lambda rows, *rest: seen.update(rows=rows) or named(rows, *rest))
    monkeypatch.setattr(adapter, "train_adapter", look)
    held_back = (*HELD_OUT_SUBJECTS, *VALIDATION_SUBJECTS)
    learnt = adapter.train_codebook(tmp_path, STILL, 1, held_back)
    names = np.array(list(ATTRIBUTES["subject"]))
    assert not set(names[seen["rows"][:, 0]]) & set(held_back)
    assert seen["painted"].teacher_captions is not None, "fuller captions are the teacher's"
    # The "embedding" is the choice, and the adapter takes exactly it.
    chosen = gumbel_softmax_weights(learnt.codebook.logits({"core": seen["users"].core}, {"core": 1.0}), adapter.SIZES)
    offsets = np.cumsum([0, *adapter.SIZES[:-1]])
    assert (chosen.argmax(-1).numpy() == seen["rows"][:, 1:] + offsets).all()
    assert chosen.max(-1).values.min() > 0.999
    frozen = {name for name, p in learnt.named_parameters() if not p.requires_grad}
    assert frozen == {"codebook.prior", "codebook.to_logits.core.weight", "codebook.to_logits.core.bias"}


def test_words_begin_as_what_the_unet_reads_for_their_values():
    torch.manual_seed(0)
    encode = text.load()
    words = adapter.initialise_codebook(generator.load(), encode).codebook.entries()
    states = torch.cat([adapter.value_states(encode, name) for name in list(ATTRIBUTES)[1:]])
    alike = torch.nn.functional.cosine_similarity(words[:, None], states[None], dim=-1)
    assert (alike.argmax(1) == torch.arange(24)).all()


def test_votes_are_a_regression_on_all_parts_which_a_silent_one_does_not_shift():
    torch.manual_seed(0)
    parts = {"sem": torch.randn(4000, 3) * 5 + 2, "core": torch.randn(4000, 2) * 0.1, "img": torch.randn(4000, 2) - 7}
    weights = {part: torch.randn(x.shape[1], 5) / x.std(0)[:, None] for part, x in parts.items()}
    wanted = 1 + sum((x - x.mean(0)) @ weights[part] for part, x in parts.items())
    codebook = Codebook({part: x.shape[1] for part, x in parts.items()}, 4, (2, 3))
    adapter.fit_logits(codebook, parts, wanted)
    with torch.no_grad():
        # The penalty is that of 300 agents in 4,300, which shrinks by .07.
        torch.testing.assert_close(codebook.logits(parts, dict.fromkeys(parts, 1.0)), wanted, atol=0.6, rtol=0.1)
        without = codebook.logits(parts, {"sem": 1.0, "core": 1.0, "img": 0.0})
        own = 1 + sum((parts[part] - parts[part].mean(0)) @ weights[part] for part in ("sem", "core"))
        torch.testing.assert_close(without.mean(0), own.mean(0), atol=1e-3, rtol=0)
