"""The configuration: files that inherit, overrides, and what is refused."""

import pytest

from prefgen.prefdisc.config import PrefDiscSpec
from tests.train.prefdisc.sets import write_config
from train.prefdisc.ablation_modes import MODES
from train.prefdisc.config import CONFIGS, load_config
from train.prefdisc.run import CONFIG, check_same_run, save_run_config, training_arguments
from train.settings import SettingsError

PAPER = ("idefics2_8b_1gpu", "idefics2_8b_8gpu", "idefics2_8b_nodes")


@pytest.fixture
def file(tmp_path):
    return str(write_config(tmp_path))


@pytest.mark.parametrize("name", sorted(path.stem for path in CONFIGS.glob("*.yaml")))
def test_every_shipped_configuration_is_complete(name):
    config = load_config(name)
    PrefDiscSpec(base="b", revision="1", **config.spec)
    for turn in (config.spec["turn"], config.turn_without_prompt):
        assert turn.count("<image>") == 1
        assert turn.count("{label}") == 1
    assert "{prompt}" not in config.turn_without_prompt


@pytest.mark.parametrize(("name", "processes", "accumulation"), zip(PAPER, (1, 8, 32), (32, 4, 1), strict=True))
def test_the_papers_recipe_on_any_number_of_machines(name, processes, accumulation):
    """paper index section 2: batch 64 as 8 GPUs of 2 pairs and 4 accumulated; 5,000 and 16,000 steps; 1e-5 and 1e-2."""
    config = load_config(name)
    assert config.accumulation(processes) == accumulation
    assert (config.batch, config.data.history, config.data.image_size) == (64, 8, 512)
    assert (config.stage_one.steps, config.stage_two.steps) == (5000, 16000)
    assert (config.stage_one.learning_rate, config.weight_decay) == (1e-5, 1e-2)
    assert (config.lora.r, config.lora.alpha, config.lora.dropout, config.lora.init) == (8, 8, 0.1, "gaussian")
    assert (config.tokens.first_stage, config.tokens.init, config.data.random_order) == (2, "uniform", True)
    assert [load_config(name, stage=stage).current_dropout for stage in (1, 2)] == [0.1, 0.1]
    assert (config.training["lr_scheduler_type"], config.training["warmup_steps"]) == ("linear", 0)
    assert (config.spec["whole_text"], config.spec["open_space"]) == (True, False)
    assert config.base.quantize == "nf4"
    assert config.spec["image"].count("<image>") == 64, "tokens an image, without splitting"


def test_overrides_reach_into_parts(file):
    config = load_config(file, ["data.history=5", "stage_one.learning_rate=3e-4", "training.save_steps=7"], mode="base")
    assert config.data.history == 5
    assert config.stage_one.learning_rate == 3e-4, "YAML reads 3e-4 as text"
    assert config.data.image_size == 24, "what is not overridden stays"
    assert training_arguments(config).save_steps == 7
    assert config.mode_flags == MODES["base"]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data.histroy=5"], "data.histroy.*expected one of data.folder, data.history"),
        (["data.history=many"], "data.history is 'many'; expected a valid integer"),
        (["stage_one.learning_rate=fast"], "stage_one.learning_rate is 'fast'; expected a valid number"),
        (["mode=best"], "expected 'base', 'prompt', 'contrastive' or 'full'"),
        (["data.history"], "expected key=value"),
        (["data.folder=null"], "data.folder is None; expected a valid string"),
        (["batch=3"], "expected a multiple of per_device"),
        (["stage=2", "mode=base"], "no preference tokens"),
        (["tokens.first_stage=3"], "tokens.first_stage is 3; expected 1 or 2"),
        (["tokens.init=zero"], "tokens.init is 'zero'; expected 'uniform' or 'embeddings'"),
        (["cache_features=true"], "stage 1's LoRA changes them"),
        (["cache_features=true", "lora.target_modules=.*q_proj", "lora.vision=true"], "stage 1's LoRA changes them"),
    ],
)
def test_what_cannot_be_run_is_refused(file, overrides, message):
    with pytest.raises(SettingsError, match=message):
        load_config(file, overrides)


def test_what_is_decided_cannot_be_given_twice(file):
    with pytest.raises(SettingsError, match=r"training\.max_steps is determined by another setting"):
        training_arguments(load_config(file, ["training.max_steps=3"]))
    with pytest.raises(SettingsError, match="expected arguments of transformers' TrainingArguments"):
        training_arguments(load_config(file, ["training.stepz=3"]))


def test_processes_that_cannot_share_the_batch_are_refused(file):
    with pytest.raises(SettingsError, match=r"expected a multiple of 6 \(3 processes with 2 pairs each\)"):
        load_config(file).accumulation(3)


def test_a_folder_holds_one_run(file):
    save_run_config(load_config(file))
    check_same_run(load_config(file, ["training.save_steps=1", "per_device=4"]))
    with pytest.raises(SettingsError, match="contains a run with seed=0; this run has 1"):
        check_same_run(load_config(file, ["seed=1"]))
    (load_config(file).folder / CONFIG).write_text("")
    with pytest.raises(SettingsError, match="damaged"):
        check_same_run(load_config(file))


def test_a_missing_file_names_those_there_are():
    with pytest.raises(SettingsError, match="idefics2_8b_1gpu"):
        load_config("idefics3")
