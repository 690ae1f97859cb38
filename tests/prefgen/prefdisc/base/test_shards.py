"""Sharded folders with something wrong: said by name, before any tensor is read."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from prefgen.errors import CheckpointError
from prefgen.prefdisc.base.locate import load_base_by_id, locate_base
from tests.prefgen.prefdisc.base.test_locate import ID, write_folder

INDEX = "model.safetensors.index.json"


def lacking(path, shards):
    shards[1].unlink()


def cut(path, shards):
    shards[1].write_bytes(shards[1].read_bytes()[:-100])


def a_page(path, shards):
    shards[1].write_text("<!DOCTYPE html><title>404</title>")


def anothers(path, shards):
    tensors = load_file(shards[1])
    save_file(dict(list(tensors.items())[1:]), shards[1], metadata={"format": "pt"})


def no_index(path, shards):
    (path / INDEX).unlink()


def broken_index(path, shards):
    (path / INDEX).write_text("[]")


def empty_index(path, shards):
    (path / INDEX).write_text('{"weight_map": {}}')


def numbers(path, shards):
    (path / INDEX).write_text('{"weight_map": {"lm_head.weight": 5}}')


def deep(path, shards):
    (path / INDEX).write_text("[" * 100_000)


def leading_away(path, shards):
    index = json.loads((path / INDEX).read_text())
    places = index["weight_map"]
    index["weight_map"] = {name: f"../{place}" for name, place in places.items()}
    (path / INDEX).write_text(json.dumps(index))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lacking, r"lacks 1 files of weights \(model-00002-of-0000\d.safetensors\). Download"),
        (cut, r"model-00002-of-0000\d.safetensors is not a complete .safetensors file"),
        (a_page, r"model-00002-of-0000\d.safetensors is not a complete .safetensors file"),
        (anothers, r"model-00002-of-0000\d.safetensors lacks 1 tensors .*Download the shards and the index again"),
        (no_index, "lacks 1 files of weights .model.safetensors or model.safetensors.index.json"),
        (broken_index, "is not an index of shards"),
        (empty_index, "lists no shards; expected .safetensors files"),
        (numbers, "is not an index of shards"),
        (deep, "is not an index of shards"),
        (leading_away, r"lists .*\.\./model-00001-of-0000\d.safetensors.*; expected"),
    ],
)
def test_a_faulty_shard_is_named(tmp_path, spoil, message):
    path = write_folder(tmp_path / "tiny-idefics2", shard="60KB")
    shards = sorted(path.glob("*.safetensors"))
    assert len(shards) > 2
    assert load_base_by_id(ID, [tmp_path]) is not None
    spoil(path, shards)
    with pytest.raises(CheckpointError, match=message) as caught:
        load_base_by_id(ID, [tmp_path])
    with pytest.raises(CheckpointError, match=message):
        locate_base(ID, [tmp_path]).bytes_needed(torch.float32)
    assert len(str(caught.value)) < 400
