"""The pocket adapter's training over several sittings."""

import shutil

import torch

from prefgen.pocket.shapes import weights_path
from prefgen.preference import load_preference_model
from train.loop import LoopConfig
from train.pocket import adapter, latents


def test_a_further_sitting_begins_with_the_adapter_that_is_there(tmp_path, monkeypatch):
    small = latents.latent_pool
    monkeypatch.setattr(adapter, "latent_pool", lambda folder: small(folder, count=64))
    monkeypatch.setattr(adapter, "AGENTS", 4)
    monkeypatch.setattr(adapter, "BATCH", 2)
    out = tmp_path / "checkpoint.safetensors"
    shutil.copyfile(weights_path("preference"), out)
    # So slow that nothing moves by as much as half precision can hold: where it began can be seen.
    still = LoopConfig(steps=2, learning_rate=1e-9, weight_decay=0.0, warmup=1, ema=0.0)
    adapter.train(tmp_path, still, out=out, from_shipped=True)
    before, after = (load_preference_model(path).require("adapter").state_dict() for path in ("pocket", out))
    assert all(torch.equal(before[name], after[name]) for name in before)
    (tmp_path / "anew").mkdir()
    adapter.train(tmp_path / "anew", still, out=out)
    anew = load_preference_model(out).require("adapter").state_dict()
    assert any(not torch.equal(before[name], anew[name]) for name in before)
