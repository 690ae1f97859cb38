"""Optional packages: default routes work without them, and other routes name the package to install."""

import subprocess
import sys
from pathlib import Path

import pytest

from prefgen.checkpoint.preference_model import load_preference_model
from prefgen.cli.errors import CommandError
from prefgen.cli.processes import join_processes
from prefgen.errors import CheckpointError, RewardError
from prefgen.prefdisc.config import LoraSpec
from prefgen.prefdisc.lora import merge_lora
from prefgen.rewards import registry

ROOT = Path(__file__).resolve().parents[2]

WITHOUT = """
import importlib.machinery, sys, torch
missing = {"peft", "accelerate", "open_clip", "imscore", "bitsandbytes", "diffusers", "pyarrow", "datasets"}
find = importlib.machinery.PathFinder.find_spec
importlib.machinery.PathFinder.find_spec = classmethod(
    lambda cls, name, *rest: None if name.split(".")[0] in missing else find(name, *rest)
)
from prefgen.checkpoint.preference_model import load_preference_model
from tests.prefgen import tiny
model, history = load_preference_model("pocket"), tiny.history(2)
print(model.prefdisc.score(model.encode_history(history), torch.rand(2, 3, 96, 96)).shape)
assert not missing & set(sys.modules)
"""


def test_the_pocket_models_need_no_optional_package():
    ran = subprocess.run([sys.executable, "-c", WITHOUT], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert ran.stdout.strip() == "torch.Size([2])", ran.stderr


def test_a_lora_names_peft(monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(CheckpointError, match=r"needs the package peft\. Run pip install peft"):
        merge_lora(None, LoraSpec(8, 8, "q_proj"), {}, "lora.safetensors")


def test_the_commands_name_accelerate(monkeypatch):
    monkeypatch.setitem(sys.modules, "accelerate", None)
    with pytest.raises(CommandError, match=r"needs the package accelerate\. Run pip install accelerate"):
        join_processes()


@pytest.mark.parametrize(("module", "package"), [("open_clip", "open_clip_torch"), ("imscore", "imscore")])
def test_the_published_rewards_name_their_package(monkeypatch, module, package):
    def load(files):
        raise ImportError(name=module)

    reward = next(iter(registry.PUBLISHED_REWARDS))
    monkeypatch.setitem(registry.PUBLISHED_REWARDS, reward, registry.PublishedRewardSpec("It", load, {}))
    monkeypatch.setattr(registry, "find_files", lambda *_: {})
    with pytest.raises(RewardError, match=rf"It needs the package {package}\. Run pip install {package}"):
        registry.load_reward_model(reward, ())


@pytest.mark.parametrize("name", ["clip", "pickscore", "hps"])
def test_the_rewards_of_clip_models_name_open_clip_before_they_read_weights(monkeypatch, tmp_path, name):
    (tmp_path / name).mkdir()
    (tmp_path / name / "model.safetensors").touch()
    monkeypatch.setitem(sys.modules, "open_clip", None)
    with pytest.raises(RewardError, match=r"needs the package open_clip_torch\. Run pip install open_clip_torch"):
        registry.load_reward_model(name, [tmp_path])


def test_an_old_transformers_is_named_where_prefdisc_is_loaded(monkeypatch):
    monkeypatch.setattr("prefgen.prefdisc.base.base_model.MIN_TRANSFORMERS", "99.0")
    with pytest.raises(CheckpointError, match=r"needs transformers 99\.0 or later; found \d"):
        load_preference_model("pocket")
