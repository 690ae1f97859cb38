"""Stages as published, and images in one shape: in the training, in its checkpoints and in scoring."""

from dataclasses import replace

import pytest
import torch

from prefgen.checkpoint.file import read_checkpoint
from prefgen.errors import CheckpointError
from prefgen.history import PreferencePair, UserHistory
from prefgen.images import read_image
from prefgen.prefdisc.model import PrefDisc
from tests.train.prefdisc.sets import write_config, write_users
from train.prefdisc.build import build_prefdisc
from train.prefdisc.config import load_config
from train.prefdisc.run import check_same_run, make_trainer, run
from train.settings import SettingsError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("run")
    write_config(place)
    return place


def config(folder, *overrides, **chosen):
    return load_config(str(folder / "run.yaml"), overrides, **chosen)


@pytest.fixture(scope="module")
def first(folder):
    return run(config(folder))


@pytest.fixture(scope="module")
def second(folder, first):
    return run(config(folder, stage=2))


@pytest.mark.parametrize("shape", [(40, 24), (24, 50)])
def test_training_reads_images_in_the_shape_of_scoring(folder, tmp_path, shape):
    """Training squashes images; a checkpoint of it must squash them too, whatever the processor would keep."""
    write_users(tmp_path, size=shape[0], width=shape[1])
    trainer = make_trainer(config(folder, f"data.folder={tmp_path}"))
    prefdisc, trial = trainer.model.prefdisc.eval(), trainer.eval_dataset[0]
    assert prefdisc.spec.square == 24
    pairs = [PreferencePair(read_image(p.liked), read_image(p.disliked), p.prompt) for p in trial.history]
    candidates = torch.stack([read_image(file) for file in trial.target.images])
    assert candidates.shape[-2:] == shape
    with torch.no_grad():
        logits = trainer.model.eval()(**trainer.data_collator([trial]))[0, :, list(trainer.model.labels)]
        scored = prefdisc.logits(prefdisc.encode(UserHistory(tuple(pairs))), candidates, trial.target.prompt)
        # float32: one packed sequence against a cached history
        assert torch.allclose(scored, logits, atol=1e-3)
        kept = PrefDisc(prefdisc.base, prefdisc.template.tokenizer, replace(prefdisc.spec, square=0), prefdisc.tokens)
        other = kept.logits(kept.encode(UserHistory(tuple(pairs))), candidates, trial.target.prompt)
    assert not torch.allclose(other, logits, atol=1e-2), "the shape matters"


def test_the_square_is_not_a_setting_of_its_own(folder):
    with pytest.raises(SettingsError, match=r"spec\.square is not a known key, or is determined by other settings"):
        build_prefdisc(config(folder, "spec.square=12"))


PUBLISHED = (
    *("tokens.first_stage=2", "tokens.init=uniform", "data.random_order=true", "lora.dropout=0.1"),
    *("training.lr_scheduler_type=linear", "training.warmup_steps=0", "spec.whole_text=true"),
)


def test_stages_as_published(folder):
    """Stage 1 without tokens; stage 2 starts them uniform in (0, 1), and trains them alone."""
    settings = (*PUBLISHED, f"output={folder / 'published'}")
    first = run(config(folder, *settings))
    before = read_checkpoint(first["checkpoint"])
    assert before.header["prefdisc"]["num_tokens"] == 0
    assert before.header["prefdisc"]["whole_text"] is True
    start = build_prefdisc(config(folder, *settings, stage=2)).requires_grad_(False)
    assert start.tokens.shape == (3, 32)
    assert start.tokens.min() > 0
    assert start.tokens.max() < 1
    assert start.tokens.std() == pytest.approx(12**-0.5, abs=0.05)
    second = run(config(folder, *settings, stage=2))
    after = read_checkpoint(second["checkpoint"])
    assert second["trainable"] == 3 * 32
    changed = [name for name in before.tensors if not torch.equal(before.tensors[name], after.tensors[name])]
    assert changed == ["prefdisc.tokens"]
    moved = (after.tensors["prefdisc.tokens"] - start.tokens).abs()
    assert 0 < moved.max() <= 4 * 1e-2 * 1.1, "four steps of at most the learning rate"


def test_a_stage_of_another_recipe_is_refused(folder, first, second):
    """Resumed with other stages, or started from a first stage with tokens where there should be none."""
    with pytest.raises(
        SettingsError, match=r"contains a run with tokens=\{'first_stage': 1.*this run has \{'first_stage'"
    ):
        check_same_run(config(folder, "tokens.first_stage=2", stage=2))
    other = config(folder, "tokens.first_stage=2", f"start={first['checkpoint']}", stage=2)
    with pytest.raises(CheckpointError, match=r"num_tokens of .* is 3; the run has 0"):
        build_prefdisc(other)


def test_the_order_of_pairs_is_drawn_in_training_alone(folder):
    trainer = make_trainer(config(folder, "data.random_order=true"))
    plain = make_trainer(config(folder))
    orders = [trainer.train_dataset[i].swapped for i in range(24)]
    assert {len(order) for order in orders} == {3}
    assert 0.3 < sum(map(sum, orders)) / 72 < 0.7
    assert orders == [trainer.train_dataset[i].swapped for i in range(24)], "a resumed run draws the same"
    assert [trainer.eval_dataset[i].swapped for i in range(10)] == [None] * 10
    for i in range(24):
        assert replace(trainer.train_dataset[i], swapped=None) == plain.train_dataset[i]


def test_dropout_of_both_stages_is_as_configured(folder, first):
    rates = {"lora.dropout=0.1": [0.1, 0.1], "lora.dropout=0.1 lora.stage_two_dropout=0.0": [0.1, 0.0]}
    for settings, expected in rates.items():
        for stage, rate in zip((1, 2), expected, strict=True):
            prefdisc = build_prefdisc(config(folder, *settings.split(), stage=stage))
            drops = {
                module.p
                for name, module in prefdisc.base.named_modules()
                if name.endswith("lora_dropout.default") and hasattr(module, "p")
            }
            assert drops == ({rate} if rate else set())
