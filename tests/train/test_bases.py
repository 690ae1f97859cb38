"""Trainings find base models where the nodes do, and load them in the precision that was asked for."""

import argparse

import pytest
import torch

from prefgen.checkpoint.file import write_part
from prefgen.errors import CheckpointError
from prefgen.prefdisc.config import PrefDiscSpec
from train import bases
from train.tiny_sdxl import LATENTS, write_idefics2

SPEC = PrefDiscSpec(
    base="someone/idefics2",
    revision="",
    turn="User:<image>{prompt} Assistant: {label}<end_of_utterance>",
    image="<image>" * LATENTS,
    labels=("+", "-"),
    num_tokens=2,
    sem_layers=(3,),
    core_layers=(1,),
    longest_edge=24,
    shortest_edge=12,
)


def arguments(*line):
    parser = argparse.ArgumentParser()
    bases.add_base_options(parser)
    return parser.parse_args(line)


@pytest.fixture
def checkpoint(tmp_path):
    write_part(tmp_path / "p.safetensors", "prefdisc", SPEC.to_json(), {"tokens": torch.zeros(2, 32)})
    return tmp_path / "p.safetensors"


@pytest.mark.parametrize("place", ["models/prefgen/base/someone--idefics2", "models/LLM/idefics2"])
def test_a_base_in_comfyuis_folders_is_found(checkpoint, tmp_path, monkeypatch, place):
    monkeypatch.setenv("COMFYUI_PATH", str(tmp_path / "ComfyUI"))
    with pytest.raises(CheckpointError, match="needs the base model 'someone/idefics2', which is not on this machine"):
        bases.load_model(checkpoint, arguments())
    write_idefics2(tmp_path / "ComfyUI" / place)
    model = bases.load_model(checkpoint, arguments("--precision", "bfloat16"))
    assert model.prefdisc.dtype == torch.bfloat16
    assert bases.load_model(checkpoint, arguments()).prefdisc.dtype == torch.float32


def test_folders_of_ones_own_come_first(tmp_path, monkeypatch):
    monkeypatch.setenv("COMFYUI_PATH", str(tmp_path))
    (tmp_path / "models" / "LLM").mkdir(parents=True)
    assert bases.base_folders([tmp_path / "own"])[:2] == [tmp_path / "own", tmp_path / "models" / "LLM"]


def test_nf4_reaches_the_base(checkpoint, monkeypatch):
    asked = {}
    monkeypatch.setattr(bases, "load_preference_model", lambda *_, **options: asked.update(options))
    bases.load_model(checkpoint, arguments("--precision", "nf4"))
    options = asked["base_options"](bases.BaseLocation(checkpoint, "someone/idefics2"))
    assert (options.quantize, options.dtype) == ("nf4", torch.bfloat16)
    exact = asked["base_options"](bases.BaseLocation(checkpoint, bases.POCKET_BASE))
    assert (exact.quantize, exact.dtype) == ("none", torch.float32), "the bundled base stays as it is"
