"""Whole runs of a few steps with the tiny base: what learns, what is written, and that it scores as it was trained."""

import json

import pytest
import torch

from prefgen.checkpoint.file import read_checkpoint
from prefgen.checkpoint.preference_model import load_preference_model
from prefgen.errors import CheckpointError, PrefGenError
from prefgen.history import PreferencePair, UserHistory
from prefgen.images import read_image
from prefgen.losses import base_loss, preference_loss
from tests.train.prefdisc.sets import write_config
from train.prefdisc import learner
from train.prefdisc.__main__ import main
from train.prefdisc.build import build_prefdisc
from train.prefdisc.checkpoints import FSDP, last_complete, load_prefdisc
from train.prefdisc.config import load_config
from train.prefdisc.learner import trainable_parameters
from train.prefdisc.run import check_same_run, make_trainer, run
from train.settings import SettingsError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A set, a base, a configuration, and both stages trained."""
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


def test_a_run_learns_and_measures_on_others(first):
    losses = list(first["losses"].values())
    assert len(losses) == 6
    assert losses[-1] < losses[0] - 1, "reddish images are liked: a few steps see it"
    assert 0 <= first["eval_accuracy"] <= 1
    header = read_checkpoint(first["checkpoint"]).header
    assert header["training"]["prefdisc"]["validation_accuracy"] == pytest.approx(first["eval_accuracy"], abs=1e-4)
    assert header["prefdisc"]["lora"]["r"] == 2


def test_stage_one_trains_the_lora_and_the_tokens(folder):
    names = set(trainable_parameters(build_prefdisc(config(folder))))
    assert "tokens" in names
    adapted = {name for name in names if "lora_" in name}
    assert adapted == names - {"tokens"}
    for part in ("text_model", "modality_projection", "perceiver_resampler"):
        assert any(part in name for name in adapted)
    assert not any("vision_model" in name for name in adapted)


def test_the_vision_tower_can_learn_too(folder):
    names = trainable_parameters(build_prefdisc(config(folder, "lora.vision=true")))
    towers = {name.split(".lora_")[0].rsplit(".", 1)[1] for name in names if "vision_model" in name}
    assert towers == {"q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"}
    assert (
        run(config(folder, "lora.vision=true", "output=" + str(folder / "vision"), "stage_one.steps=1"))["steps"] == 1
    )


def test_stage_two_trains_the_tokens_alone(folder, first, second):
    assert second["trainable"] == 3 * 32, "L_p x D"
    before, after = (read_checkpoint(reached["checkpoint"]).tensors for reached in (first, second))
    assert before.keys() == after.keys()
    assert [name for name in before if not torch.equal(before[name], after[name])] == ["prefdisc.tokens"]


def test_stage_two_wants_a_first_one(folder):
    with pytest.raises(SettingsError, match="Run stage 1"):
        run(config(folder, "output=" + str(folder / "nothing"), stage=2))


def test_the_checkpoint_scores_as_the_trained_model(folder, first):
    """By the library's own door, and through the history's prefix instead of a packed forward."""
    trainer = make_trainer(config(folder))
    load_prefdisc(folder / "out" / "full" / "stage1" / "preference.safetensors", trainer.model.prefdisc)
    loaded = load_preference_model(first["checkpoint"], base_folders=[folder / "bases"])
    for number in range(3):
        trial = trainer.eval_dataset[number]
        with torch.no_grad():
            logits = trainer.model.eval()(**trainer.data_collator([trial]))[0]
        pairs = [PreferencePair(read_image(p.liked), read_image(p.disliked), p.prompt) for p in trial.history]
        candidates = torch.stack([read_image(file) for file in trial.target.images])
        prefix = loaded.prefdisc.encode(UserHistory(tuple(pairs)))
        scored = loaded.prefdisc.logits(prefix, candidates, trial.target.prompt)
        # Merging a LoRA into its base rounds once in float32.
        assert torch.allclose(scored, logits[:, list(trainer.model.labels)], atol=1e-3)


def test_modes_turn_parts_of_the_method_on(folder):
    trainers = {mode: make_trainer(config(folder, mode=mode)) for mode in ("base", "prompt", "contrastive", "full")}
    batches = {mode: t.data_collator([t.train_dataset[i] for i in range(2)]) for mode, t in trainers.items()}
    tokens = {mode: batch["packed"].mask.shape[-1] for mode, batch in batches.items()}
    assert tokens["base"] < tokens["prompt"] == tokens["contrastive"] == tokens["full"] - 3
    assert [len(trainers[mode].model.prefdisc.tokens) for mode in trainers] == [0, 0, 0, 3]
    for mode, trainer in trainers.items():
        with torch.no_grad():
            loss, logits = trainer.compute_loss(trainer.model.eval(), batches[mode], return_outputs=True)
        liked, disliked, labels = logits[:, 0], logits[:, 1], trainer.model.labels
        wanted = preference_loss(liked, disliked, labels) if mode in ("contrastive", "full") else None
        assert loss == pytest.approx(wanted if wanted is not None else base_loss(liked, disliked, labels))


def test_the_loss_over_two_labels(folder):
    trainer = make_trainer(config(folder, "loss=labels"))
    whole = make_trainer(config(folder))
    batch = trainer.data_collator([trainer.train_dataset[0]])
    with torch.no_grad():
        two, many = trainer.model.eval()(**batch), whole.model.eval()(**batch)
    assert two.shape == (1, 2, 2)
    assert torch.allclose(two, many[..., list(whole.model.labels)], atol=1e-5), "float32, two ways to multiply"
    assert trainer.compute_loss(trainer.model, batch) < whole.compute_loss(whole.model, batch), "fewer to choose from"


def test_histories_of_unequal_length_are_each_their_own(folder):
    trainer = make_trainer(config(folder, "data.random_length=true"))
    lengths = [len(trial.history) for trial in trainer.train_dataset]
    rows = [lengths.index(n) for n in sorted(set(lengths))]
    trials = [trainer.train_dataset[row] for row in rows]
    assert len(trials) >= 3
    with torch.no_grad():
        together = trainer.model.eval()(**trainer.data_collator(trials))
        alone = torch.cat([trainer.model(**trainer.data_collator([trial])) for trial in trials])
    # Products of other shapes round differently.
    assert torch.allclose(together, alone, atol=1e-3)


@pytest.mark.parametrize("order", ["data.random_order=false", "data.random_order=true", "spec.disliked_first=true"])
def test_long_sequences_apart_learn_as_packed_ones(folder, monkeypatch, order):
    trainer = make_trainer(config(folder, "data.random_length=true", order))
    batch = trainer.data_collator([trainer.train_dataset[i] for i in range(6)])
    assert len(set(batch["counts"])) > 1
    found = {}
    for kind, long in (("packed", 10_000), ("apart", 0)):
        monkeypatch.setattr(learner, "MIN_SPLIT_TOKENS", long)
        if kind == "apart":
            monkeypatch.setattr(trainer.model.prefdisc, "forward", None)
        trainer.model.zero_grad()
        loss, logits = trainer.compute_loss(trainer.model, batch, return_outputs=True)
        loss.backward()
        found[kind] = logits, torch.cat([p.grad.flatten() for p in trainable_parameters(trainer.model).values()])
    for packed, apart in zip(*found.values(), strict=True):
        # Attention over a cache rounds differently; gradients here are of size 1 to 10.
        assert torch.allclose(apart, packed, rtol=1e-3, atol=1e-3)


def test_cached_features_change_nothing(folder, monkeypatch):
    """Only the decoder is adapted, so that images can be encoded once: twice the same losses, the tower run once."""
    text = "lora.target_modules=.*text_model.*(q_proj|v_proj)"
    fresh = run(config(folder, text, "output=" + str(folder / "fresh")))
    cached = ["cache_features=true", "cache_folder=" + str(folder / "kept"), text]
    once = run(config(folder, *cached, "output=" + str(folder / "once")))
    # Images encoded in other batches round differently.
    assert list(once["losses"].values()) == pytest.approx(list(fresh["losses"].values()), abs=1e-4)
    monkeypatch.setattr("prefgen.prefdisc.model.PrefDisc.patch_states", None)
    again = run(config(folder, *cached, "output=" + str(folder / "again")))
    assert again["losses"] == once["losses"], "from the file, and no image was encoded"


def test_a_checkpoint_that_was_cut_off_is_passed_over(folder, first):
    stage = folder / "out" / "full" / "stage1"
    assert last_complete(stage, 1) == stage / "checkpoint-6"
    state = stage / "checkpoint-6" / "trainer_state.json"
    text = state.read_text()
    try:
        state.write_text(text[: len(text) // 2])
        assert last_complete(stage, 1) == stage / "checkpoint-4"
        (stage / "checkpoint-kept").mkdir()
        assert last_complete(stage, 1) == stage / "checkpoint-4", "a person's own is none of the run's"
    finally:
        state.write_text(text)
    assert last_complete(stage, 2) == stage / "checkpoint-6", "other processes may go on with it"
    with pytest.raises(SettingsError, match="was written with DDP or one process; this run uses FSDP"):
        last_complete(stage, 2, FSDP)


def test_a_checkpoint_of_other_settings_is_refused(folder, first):
    other = build_prefdisc(config(folder, "spec.max_prompt_tokens=4"))
    with pytest.raises(CheckpointError, match=r"max_prompt_tokens of .* is 5; the run has 4"):
        load_prefdisc(folder / "out" / "full" / "stage1" / "preference.safetensors", other)


def test_a_lora_that_fits_nothing_is_refused(folder):
    with pytest.raises(SettingsError, match=r"lora\.target_modules does not match"):
        build_prefdisc(config(folder, "lora.target_modules=nothing_proj"))


def test_the_configuration_is_kept_beside_the_run(folder, first):
    kept = json.loads((folder / "out" / "full" / "stage1" / "config.json").read_text())
    assert kept["data"]["history"] == 3


def test_a_run_that_never_began_is_in_nobodys_way(folder):
    out = f"output={folder / 'mistyped'}"
    with pytest.raises(PrefGenError):
        run(config(folder, out, f"data.folder={folder / 'nope'}"))
    check_same_run(config(folder, out))


def test_what_cannot_be_run_is_said_in_a_sentence(folder, monkeypatch, caplog):
    monkeypatch.setattr("sys.argv", ["train", "--config", str(folder / "run.yaml"), "data.folder=nope"])
    assert main() == 1
    assert "nope" in caplog.messages[-1]


def test_a_mode_without_prompts_reads_none_whoever_gives_one(folder):
    template = build_prefdisc(config(folder, mode="base")).template
    assert template.unlabelled_turn("a cat") == template.unlabelled_turn("")
    with_prompts = build_prefdisc(config(folder)).template
    assert with_prompts.unlabelled_turn("a cat") != with_prompts.unlabelled_turn("")
