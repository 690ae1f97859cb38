"""The pocket's users for the alignment's training: who they are, and what their text says."""

import shutil

import pytest
import torch

from prefgen.checkpoint.file import read_checkpoint
from prefgen.checkpoint.preference_model import load_preference_model
from train.data.agents import World
from train.loop import LoopConfig
from train.pocket import align as pocket


def test_favourites_are_a_caption():
    assert pocket.favourites([1, 1, 1, 0, 0]) == "over the sea, neon colours, striped sky, centred, flat"


def test_users_are_encoded_as_extraction_encodes_them(monkeypatch):
    monkeypatch.setattr(pocket, "POSTERS", 24)
    prefdisc = load_preference_model("pocket").prefdisc
    table = pocket.embedded_users(prefdisc, World.load(), 50, seed=1)
    width = prefdisc.tokens.shape[1]
    assert (table.sem.shape, table.core.shape, table.texts.shape, table.likes.shape) == (
        (50, width),
        (50, width),
        (50, 128),
        (50, 5),
    )
    assert not torch.equal(table.sem, table.core)
    # Whoever likes the same best has the same text, and nobody else.
    same_likes = (table.likes[:, None] == table.likes[None]).all(-1)
    # 1e-3: the same caption is read in another batch; captions that differ are far apart.
    same_texts = (table.texts[:, None] - table.texts[None]).abs().amax(-1) < 1e-3
    assert torch.equal(same_likes, same_texts)


def test_a_training_writes_the_alignment_and_says_how_good_it_is(tmp_path, monkeypatch):
    monkeypatch.setattr(pocket, "POSTERS", 24)
    out = tmp_path / "p.safetensors"
    shutil.copy(pocket.FILE, out)
    found = pocket.train(tmp_path, LoopConfig(steps=2), users=50, objective="mse", out=out)
    assert {"rank", "own", "others", "spread", "collapsed_at"} <= found.keys()
    written = read_checkpoint(out)
    assert written.header["training"]["alignment"]["rank"] == found["rank"]
    assert written.has("adapter"), "the other parts stay"


def test_the_part_of_the_command_is_there():
    from train.pocket.__main__ import trainer

    assert trainer("align") is pocket.train
    with pytest.raises(ModuleNotFoundError):
        trainer("nothing")
