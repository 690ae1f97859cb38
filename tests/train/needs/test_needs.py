"""The arithmetic: against torch's own counter on a small base, and the table of the published one."""

import json

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from tests.prefgen import tiny
from train.needs.__main__ import main
from train.needs.cost_model import TRAINABLE_BYTES, Forward, count_forward_flops, estimate_memory, trial_size
from train.needs.shapes import IDEFICS2_8B, build_meta_model
from train.prefdisc.config import load_config


def test_a_forward_pass_costs_what_torch_counts():
    prefdisc = tiny.prefdisc().requires_grad_(False)
    base, images, tokens = prefdisc.base, 3, 40
    vision = base.config.vision_config
    side = 24
    seen = (side // vision.patch_size) ** 2
    spec = type("Spec", (), {"longest_edge": side, "num_tokens": 1})
    trial = trial_size(spec, pairs=0, turn_tokens=tokens // 2, patch=vision.patch_size)
    assert (trial.images, trial.patches, trial.tokens) == (2, seen, tokens + 1)
    counted = FlopCounterMode(display=False)
    # Products that the counter sees, of which a fused attention is none.
    plain = sdpa_kernel(SDPBackend.MATH)
    with torch.no_grad(), counted, plain:
        prefdisc.connect(base.model.vision_model(pixel_values=torch.rand(images, 3, side, side)).last_hidden_state)
    sight = counted.get_total_flops()
    counted = FlopCounterMode(display=False)
    embedded = torch.rand(1, tokens + 1, base.config.text_config.hidden_size)
    with torch.no_grad(), counted, sdpa_kernel(SDPBackend.MATH):
        states = base.model.text_model(inputs_embeds=embedded, use_cache=False).last_hidden_state
        base.lm_head(states[:, -2:])
    text = counted.get_total_flops()
    ours = count_forward_flops(base, trial)
    assert ours.vision * images / trial.images == sight
    # The counter takes the rotary positions' small products too.
    assert ours.text == pytest.approx(text, rel=0.01)


def test_a_step_is_passes_of_the_forward():
    forward = Forward(vision=10.0, text=100.0)
    assert forward.step_flops(1, recompute=True) == 330
    assert forward.step_flops(1, recompute=False) == 220
    assert forward.step_flops(2, recompute=True) == 310, "P_v's gradient does not reach the tower"


def test_bytes_of_what_learns_and_of_what_is_frozen():
    config = load_config("idefics2_8b_1gpu")
    base = build_meta_model(IDEFICS2_8B, config)
    assert all(parameter.is_meta for parameter in base.parameters())
    frozen = sum(p.numel() for p in base.parameters() if not p.requires_grad)
    # "8b": the model's own card says 8 billion.
    assert 8.2e9 < frozen < 8.6e9
    trial = trial_size(type("Spec", (), {"longest_edge": 448, "num_tokens": 10}), 8, 104, 14)
    whole, four = estimate_memory(base, trial, 2, quantised=False), estimate_memory(base, trial, 2, quantised=True)
    assert whole.frozen == 2 * frozen
    assert 0.25 < four.frozen / whole.frozen < 0.4, "tower, vocabulary and norms stay whole"
    learnt = sum(p.numel() for p in base.parameters() if p.requires_grad)
    assert whole.trainable == TRAINABLE_BYTES * learnt
    pieces = estimate_memory(base, trial, 2, quantised=False, shards=8)
    assert whole.frozen / 8 < pieces.frozen < whole.frozen / 8 + 1e9, "an eighth and a layer"
    assert estimate_memory(base, trial, 1, quantised=True).checkpoints == four.checkpoints / 2


def test_hours_are_measured_or_not_given(tmp_path, capsys):
    page = tmp_path / "page.md"
    page.write_text("# A page\n\nwords\n")
    none = main(["--document", str(page)])
    assert [row["hours"] for row in none["rows"]] == [None] * 3
    assert page.read_text().count("not measured") >= 4
    assert page.read_text().startswith("# A page\n\nwords\n")
    told = main(["--seconds", "2", "--second-stage", "1", "--card", "a card", "--reached", "100"])
    said = capsys.readouterr().out
    assert json.loads(said.strip().splitlines()[-1]) == told
    # 5,000 steps of 32 forwards of 2 s and 16,000 of 32 of 1 s, in hours; 8 GPUs an eighth.
    one = (5000 * 32 * 2 + 16000 * 32 * 1) / 3600
    assert [row["hours"] for row in told["rows"]] == pytest.approx([one, one / 8, one / 64], abs=0.01)
    assert [row["accumulation"] for row in told["rows"]] == [32, 4, 1]
    assert [row["per_device"] for row in told["rows"]] == [2, 2, 1]
    assert said.count("(extrapolated)") == 2
    assert "(assumed)" in said
    hours = told["flops"]["total"] / 1e14 / 3600
    assert told["rows"][0]["hours_at_assumed_rate"] == pytest.approx(hours, abs=0.01)


def test_a_base_that_is_whole_is_not_called_quantised(capsys):
    main(["--config", "idefics2_8b_whole"])
    assert "DDP, bfloat16" in capsys.readouterr().out
    main([])
    assert "DDP, 4 bits" in capsys.readouterr().out


WRONG = [
    ["--seconds", "2"],
    ["--gpus", "3"],
    ["--seconds", "2", "--second-stage", "1"],
    ["--seconds", "-2", "--second-stage", "1", "--card", "a card"],
    ["--reached", "nan"],
    ["--config", "nope"],
]


@pytest.mark.parametrize("wrong", WRONG, ids=" ".join)
def test_what_cannot_be_said_is_refused(wrong):
    with pytest.raises(SystemExit):
        main(wrong)
