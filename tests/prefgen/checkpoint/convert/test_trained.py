"""What a training leaves behind becomes one file that loads and scores."""

from dataclasses import replace

import pytest
import torch

from prefgen.checkpoint.convert.trained import convert_trained
from prefgen.checkpoint.file import read_checkpoint, write_part
from prefgen.checkpoint.preference_model import load_preference_model
from prefgen.errors import CheckpointError
from prefgen.prefdisc.base.base_model import save_base
from prefgen.prefdisc.config import LoraSpec
from prefgen.prefdisc.model import PrefDisc
from tests.prefgen import tiny
from train.prefdisc.checkpoints import FILE, save_prefdisc
from train.prefdisc.lora import inject_lora

LORA = LoraSpec(4, 4, r".*text_model.*(q|v)_proj")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run's folder as train.prefdisc leaves it: stage 1 done, stage 2 at its second checkpoint; and the model."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "bases" / "tiny").mkdir(parents=True)
    whole = tiny.prefdisc()
    base = folder / "bases" / "tiny" / "base.safetensors"
    revision = save_base(base, tiny.SPEC.base, tiny.CONFIG, whole.base, tiny.tokenizer())
    prefdisc = PrefDisc(whole.base, tiny.tokenizer(), replace(tiny.SPEC, revision=revision, lora=LORA), whole.tokens)
    inject_lora(prefdisc.base, LORA)
    for name, parameter in prefdisc.base.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(std=0.5, generator=torch.Generator().manual_seed(6))
    run = folder / "run" / "full"
    for place, steps in (("stage1", 10), ("stage2/checkpoint-9", 9), ("stage2/checkpoint-10", 10)):
        (run / place).mkdir(parents=True)
        save_prefdisc(run / place / FILE, prefdisc, {"stage": int(place[5]), "steps": steps})
        (run / place / "optimizer.pt").write_bytes(b"no business of ours")
    return folder, prefdisc.eval()


@pytest.mark.parametrize(
    ("source", "stage", "steps"),
    [
        ("run", 2, 10),
        ("run/full", 2, 10),
        ("run/full/stage2", 2, 10),
        ("run/full/stage2/checkpoint-9", 2, 9),
        ("run/full/stage1", 1, 10),
        ("run/full/stage1/preference.safetensors", 1, 10),
    ],
)
def test_the_checkpoint_that_is_meant(trained, tmp_path, source, stage, steps):
    made = convert_trained(trained[0] / source, tmp_path / "made.safetensors", licence="CC0-1.0")
    assert made.header["training"]["prefdisc"] == {"stage": stage, "steps": steps}
    assert made.header["licence"] == "CC0-1.0"


def test_it_scores_as_the_model_that_was_trained(trained, tmp_path):
    folder, prefdisc = trained
    made = convert_trained(folder / "run", tmp_path / "made.safetensors")
    assert made.fingerprint == read_checkpoint(folder / "run/full/stage2/checkpoint-10" / FILE).fingerprint
    history, images = tiny.history(2), torch.rand(3, 3, 24, 24)
    loaded = load_preference_model(made.path, base_folders=[folder / "bases"])
    with torch.no_grad():
        expected = prefdisc.score(prefdisc.encode(history), images, "a cat")
    # the base is kept in half precision, the LoRA merged
    assert torch.allclose(loaded.prefdisc.score(loaded.encode_history(history), images, "a cat"), expected, atol=5e-3)


def test_what_holds_no_checkpoint_or_several(trained, tmp_path):
    with pytest.raises(CheckpointError, match=r"has no preference\.safetensors, and neither have stage2"):
        convert_trained(trained[0] / "bases", tmp_path / "made.safetensors")
    for mode in ("full", "base"):
        (tmp_path / "runs" / mode / "stage1").mkdir(parents=True)
    with pytest.raises(CheckpointError, match=r"has several runs \(base, full\)"):
        convert_trained(tmp_path / "runs", tmp_path / "made.safetensors")
    found = trained[0] / "run/full/stage1" / FILE
    with pytest.raises(CheckpointError, match="is the training's own file"):
        convert_trained(found, found, force=True)
    assert read_checkpoint(found).has("prefdisc")


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_training_that_came_apart_is_refused(trained, tmp_path, value):
    found = tmp_path / "stage1" / FILE
    found.parent.mkdir()
    whole = read_checkpoint(trained[0] / "run/full/stage1" / FILE)
    tensors = whole.part("prefdisc")
    tensors["tokens"][1, 2] = value
    write_part(found, "prefdisc", whole.header["prefdisc"], tensors)
    with pytest.raises(CheckpointError, match=r"contains NaN or infinity \(prefdisc.tokens\)"):
        convert_trained(tmp_path, tmp_path / "made.safetensors")
    assert not (tmp_path / "made.safetensors").exists()
