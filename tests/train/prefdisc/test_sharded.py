"""accelerate's configuration files are read as they are meant; under FSDP a run learns what one process learns."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml
from torch.distributed.fsdp import StateDictType
from transformers.models.idefics2 import modeling_idefics2
from transformers.models.mistral import modeling_mistral

from prefgen.checkpoint.file import read_checkpoint
from tests.forked import launching, wait_for
from tests.train.prefdisc.gloo import environment
from tests.train.prefdisc.sets import write_config
from train.prefdisc.config import load_config
from train.prefdisc.run import run
from train.prefdisc.trainer import set_up_fsdp
from train.settings import CONFIGS, SettingsError

ACCELERATE = CONFIGS / "accelerate"
SHORT = ["stage_one.steps=4", "training.eval_steps=100", "data.validation=4"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("sharded")
    write_config(place)
    return place


@pytest.fixture(scope="module")
def launch():
    """Starts the command under FSDP in so many processes; gives the file of what they say."""
    with launching("tests.train.prefdisc.gloo", "train.prefdisc.__main__") as start:

        def run(folder, processes, output, *overrides):
            said = folder / f"{output}-{len(list(folder.glob('*.txt')))}.txt"
            arguments = ["--config", folder / "run.yaml", *overrides, f"output={folder / output}"]
            start(said, processes, [ACCELERATE / "fsdp.yaml", *arguments])
            wait_for(lambda: said.read_text().count("ended ") == processes, said)
            return said

        yield run


def losses(stage):
    newest = max(stage.glob("checkpoint-*"), key=lambda path: int(path.name[11:]))
    rows = json.loads((newest / "trainer_state.json").read_text())["log_history"]
    return [row["loss"] for row in rows if "loss" in row]


@pytest.mark.parametrize("processes", [8, 64])
@pytest.mark.parametrize("name", sorted(path.stem for path in ACCELERATE.glob("*.yaml")))
def test_every_file_is_read_as_it_is_meant(name, processes):
    machines = ["--num_machines", str(processes // 8), "--machine_rank", "1", "--main_process_ip", "127.0.0.1"]
    told = environment(ACCELERATE / f"{name}.yaml", processes, *(machines if processes > 8 else ()))
    assert ("ACCELERATE_USE_FSDP" in told) == (name == "fsdp")
    assert ("ACCELERATE_USE_DEEPSPEED" in told) == name.startswith("zero")
    if name == "fsdp":
        assert (told["FSDP_VERSION"], told["FSDP_STATE_DICT_TYPE"]) == ("2", "SHARDED_STATE_DICT")
        for layer in told["FSDP_TRANSFORMER_CLS_TO_WRAP"].split(","):
            assert hasattr(modeling_mistral, layer) or hasattr(modeling_idefics2, layer)
    if name.startswith("zero"):
        assert told["ACCELERATE_DEEPSPEED_ZERO_STAGE"] == name[-1]
        assert told["ACCELERATE_GRADIENT_ACCUMULATION_STEPS"] == "auto"


def test_every_file_names_a_configuration_that_is_there():
    for path in ACCELERATE.glob("*.yaml"):
        text = path.read_text()
        name = text.split("--config ", 1)[1].split()[0]
        config = load_config(name)
        sharded = yaml.safe_load(text)["distributed_type"] == "FSDP" or path.stem == "zero3"
        assert (config.base.quantize == "none") == sharded, "4-bit weights cannot lie in pieces"
        assert [config.accumulation(processes) for processes in (1, 8, 32)] == [32, 4, 1]


def test_fsdp_learns_what_one_process_learns_and_resumes(folder, launch):
    """In half precision with activations recomputed, as the 8B is trained, on two processes."""
    options = [*SHORT, "base.dtype=bfloat16", "training.bf16=true", "checkpointing=true"]
    said = launch(folder, 2, "fsdp", *options)
    assert said.read_text().count("ended 0") == 2, said.read_text()
    stage = folder / "fsdp" / "full" / "stage1"
    assert (stage / "checkpoint-4" / "optimizer_0").is_dir(), "it was FSDP that kept the optimiser's state"
    assert not list((stage / "checkpoint-4").glob("pytorch_model*")), "and the frozen base is not written"
    one = run(load_config(str(folder / "run.yaml"), [*options, f"output={folder / 'one'}"]))
    # The batch's gradients are summed in another order, on weights of 8 bits; the first loss knows nothing of that.
    expected = list(one["losses"].values())
    assert losses(stage)[0] == pytest.approx(expected[0], abs=1e-3)
    assert losses(stage) == pytest.approx(expected, abs=0.02)
    ours, theirs = (
        read_checkpoint(path / "preference.safetensors").tensors for path in (stage, Path(one["checkpoint"]).parent)
    )
    assert {name: tensor.shape for name, tensor in ours.items()} == {n: t.shape for n, t in theirs.items()}
    assert all(tensor.dtype == torch.float32 for tensor in ours.values())
    before = losses(stage)
    shutil.rmtree(stage / "checkpoint-4")
    (stage / "preference.safetensors").unlink()
    said = launch(folder, 2, "fsdp", *options)
    assert "Resuming" in said.read_text()
    assert "checkpoint-2" in said.read_text()
    # Attention's sums on a processor are the same each time; nothing may differ.
    assert losses(stage) == before


def test_other_kinds_of_fsdp_are_refused():
    for version, kept in ((1, StateDictType.SHARDED_STATE_DICT), (2, StateDictType.FULL_STATE_DICT)):
        with pytest.raises(SettingsError, match=r"fsdp_version is [12].*expected 2 and SHARDED_STATE_DICT"):
            set_up_fsdp(SimpleNamespace(fsdp_version=version, state_dict_type=kept), bfloat16=False)
