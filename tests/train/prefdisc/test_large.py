"""What a large base needs, on the tiny one: a Hugging Face folder, 4 bits, half precision, recomputed activations."""

import pytest
import torch
from safetensors import safe_open

from prefgen.checkpoint.preference_model import load_preference_model
from prefgen.prefdisc.base.base_model import TOKENIZER, build_base
from tests.prefgen import tiny
from tests.train.prefdisc.sets import write_config
from train.prefdisc.build import build_prefdisc
from train.prefdisc.config import load_config
from train.prefdisc.learner import trainable_parameters
from train.prefdisc.run import run
from train.settings import SettingsError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("large")
    write_config(place)
    tiny.prefdisc().base.save_pretrained(place / "hub" / "tiny")
    tiny.tokenizer().save(str(place / "hub" / "tiny" / TOKENIZER))
    return place


def config(folder, output, *overrides):
    hub = [f"base.path={folder / 'hub' / 'tiny'}", "base.id=tests/tiny", f"output={folder / output}"]
    return load_config(str(folder / "run.yaml"), [*hub, "stage_one.steps=2", *overrides])


def test_a_hugging_face_folder_learns_as_a_base_file_does(folder):
    reached = run(config(folder, "folder"))
    file = run(load_config(str(folder / "run.yaml"), ["stage_one.steps=2", f"output={folder / 'file'}"]))
    # A base file holds half precision: its weights are off by one part in 2,000.
    assert list(reached["losses"].values()) == pytest.approx(list(file["losses"].values()), rel=0.02)
    loaded = load_preference_model(reached["checkpoint"], base_folders=[folder / "hub"])
    assert torch.isfinite(loaded.prefdisc.score(None, torch.rand(2, 3, 24, 24), "a cat")).all()


def test_half_precision_keeps_what_learns_in_float32(folder):
    options = ["base.dtype=bfloat16", "training.bf16=true"]
    prefdisc = build_prefdisc(config(folder, "half", *options))
    assert {parameter.dtype for parameter in trainable_parameters(prefdisc).values()} == {torch.float32}
    assert prefdisc.base.lm_head.weight.dtype == torch.bfloat16
    half = run(config(folder, "half", *options))
    whole = run(config(folder, "whole"))
    # bfloat16 has 8 bits: logits of size 5 are good to 0.02 or so, through four layers to some multiple of it.
    assert list(half["losses"].values()) == pytest.approx(list(whole["losses"].values()), abs=0.3)
    with safe_open(half["checkpoint"], "pt") as file:
        assert {file.get_tensor(name).dtype for name in file.keys()} == {torch.float32}  # noqa: SIM118 (no mapping)


def test_recomputed_activations_change_nothing(folder):
    once, again = run(config(folder, "kept")), run(config(folder, "recomputed", "checkpointing=true"))
    assert list(again["losses"].values()) == pytest.approx(list(once["losses"].values()), abs=1e-5)


@pytest.fixture
def broad(folder):
    """A folder of a base that bitsandbytes takes on every processor."""
    build_base(tiny.BROAD).save_pretrained(folder / "hub" / "broad")
    tiny.tokenizer().save(str(folder / "hub" / "broad" / TOKENIZER))
    return folder / "hub" / "broad"


def test_four_bits_are_laid_under_the_lora(folder, broad):
    bitsandbytes = pytest.importorskip("bitsandbytes")
    options = [f"base.path={broad}", "base.quantize=nf4", "base.dtype=bfloat16", "training.bf16=true"]
    prefdisc = build_prefdisc(config(folder, "four", *options))
    four = {n for n, m in prefdisc.base.named_modules() if isinstance(m, bitsandbytes.nn.Linear4bit)}
    assert any("text_model" in name for name in four)
    assert any("perceiver_resampler" in name for name in four)
    assert not any("vision_model" in name or "lm_head" in name for name in four)
    losses = run(config(folder, "four", *options))["losses"]
    assert losses[2] < losses[1]


def test_a_base_file_is_not_quantised(folder):
    with pytest.raises(SettingsError, match=r"needs a base\.path folder in Hugging Face's format"):
        build_prefdisc(load_config(str(folder / "run.yaml"), ["base.quantize=nf4"]))
