"""Tests the full-size benchmark with its tiny geometry: all rows, skipped rows, memory limits and FLOP counts."""

import json
import subprocess
import sys

import pytest
import torch

from benchmarks.full_size.device import GIB, Device
from benchmarks.full_size.flops import PrefDiscFlops, count_flops
from benchmarks.full_size.prefdisc_benchmark import PrefDiscBenchmark
from benchmarks.full_size.random_models import build_prefdisc, meta_base
from benchmarks.full_size.shapes import FULL, SHAPES, TINY
from benchmarks.full_size.table import BEGIN, END, markdown, replace_table
from benchmarks.full_size.timing import Workload, measure_row
from tests.comfyui.server import PACK

CPU = torch.device("cpu")


def run(tmp_path, *options):
    """Run the command in its own process, because it imports ComfyUI."""
    out = tmp_path / "full_size.json"
    command = [sys.executable, "-m", "benchmarks.full_size", "--device", "cpu", "--geometry", "tiny", "--out", str(out)]
    ran = subprocess.run([*command, *options], cwd=PACK, capture_output=True, text=True, timeout=500)
    assert ran.returncode == 0, ran.stderr[-3000:]
    told = json.loads(ran.stdout.splitlines()[-1])
    assert told == json.loads(out.read_text())
    return told, out.with_suffix(".md").read_text()


def test_every_row_is_measured_beside_its_limit(tmp_path):
    pytest.importorskip("bitsandbytes")
    told, table = run(tmp_path)
    names = [row["row"].split(",")[0] for row in told["rows"]]
    prefdisc_rows = ["build PrefDisc", "encode a history of 2 pairs", "score 3 candidates"]
    painting = ["SDXL 128 px", "SDXL 128 px", "ReNO 64 px"]
    assert names == [*prefdisc_rows, *prefdisc_rows, "train: one QLoRA step", *painting]
    for row in told["rows"]:
        assert "not_run" not in row, row
        assert row["limit_s"] > 0
        # Where matrix products are emulated, convolutions are faster, and the limit is no lower bound.
        assert row["limit_s"] < row["seconds"] or told["matmul_tflops"] < 0.01
        assert row["ratio"] == pytest.approx(row["limit_s"] / row["seconds"], rel=0.05, abs=1e-3)
        assert row["peak_gib"] > 0.1
        assert row["part_of"] is None
        assert row["row"] in table
    assert {row["precision"] for row in told["rows"]} >= {"bfloat16", "nf4"}


def test_what_does_not_fit_says_what_it_needs_and_the_rest_goes_on(tmp_path):
    told, table = run(tmp_path, "--memory", "0.01")
    assert len(told["rows"]) == 10
    for row in told["rows"]:
        assert row["not_run"] == "does not fit"
        assert row["needs_gib"] > 0
    assert table.count("not run, does not fit: needs") == 10


def test_what_takes_more_than_was_thought_is_stopped_and_said():
    device = Device(CPU, cap=Device(CPU).memory_in_use() + GIB // 2)
    work = Workload(lambda: torch.zeros(GIB), 1.0, 1.0, description="a gibibyte of float32")
    row = measure_row(device, "greedy", "float32", work, work, 1, warm=False)
    assert row["not_run"] == "ran out of memory with a gibibyte of float32"
    assert torch.zeros(GIB // 4).sum() == 0, "the memory limit is removed afterwards"


def test_the_eight_billion_need_what_they_are_known_to_need():
    for quantize, gib in (("none", 15.7), ("nf4", 5.3)):
        prefdisc_benchmark = PrefDiscBenchmark(Device(CPU), FULL, quantize, 60)
        # 8.40 billion weights
        assert prefdisc_benchmark.size / GIB == pytest.approx(gib, abs=0.1)
    assert prefdisc_benchmark.history_tokens(8) == pytest.approx(1650, abs=30), (
        "about the same as with Idefics2's tokenizer"
    )


def test_the_arithmetic_is_what_torch_counts():
    work = PrefDiscFlops(meta_base(TINY, torch.float32), TINY.spec)
    prefdisc = build_prefdisc(TINY, torch.float32, "none", CPU)
    prefdisc.base.set_attn_implementation("eager")  # torch counts all of its products
    images = torch.rand(2, 3, 112, 112)
    # torch also counts the masked half of the attention, a few per cent at these sizes.
    assert work.image_flops(2) == pytest.approx(count_flops(lambda: prefdisc.features(images)), rel=0.02)
    states = torch.randn(3, 90, 64)
    text = prefdisc.base.model.text_model
    causal = 3 * 4 * 90 * 45 * 64 * TINY.base["text_config"]["num_hidden_layers"]
    assert work.decoder_flops(90, rows=3) + causal == pytest.approx(
        count_flops(lambda: text(inputs_embeds=states)), rel=0.02
    )
    assert work.logit_flops(5) == count_flops(lambda: prefdisc.base.lm_head(states[0, :5]))


@pytest.mark.parametrize("quantize", ["none", "nf4"])
def test_a_model_is_built_in_its_own_type_and_scores(quantize):
    if quantize == "nf4":
        pytest.importorskip("bitsandbytes")
    prefdisc = build_prefdisc(TINY, torch.bfloat16, quantize, CPU)
    kinds = {parameter.dtype for parameter in prefdisc.parameters()}
    assert kinds == {torch.bfloat16} | ({torch.uint8} if quantize == "nf4" else set())
    found = prefdisc.score(None, torch.rand(4, 3, 112, 112))
    assert torch.isfinite(found).all()
    assert not any(tensor.is_meta for tensor in (*prefdisc.parameters(), *prefdisc.buffers()))


def test_a_document_gets_the_new_table():
    rows = [{"row": "a", "precision": "b", "not_run": "does not fit", "needs_gib": 17.0}]
    result = {"device": "D", "dtype": "x", "matmul_tflops": 1, "bandwidth_gb_s": 2, "torch": "t", "geometry": "full"}
    table = markdown(result | {"rows": rows})
    made = replace_table(f"# Title\n{BEGIN}\nold\n{END}\nrest\n", table)
    assert "old" not in made
    assert made.startswith("# Title\n")
    assert made.endswith("rest\n")
    assert "needs 17.0 GiB" in made
    with pytest.raises(ValueError, match="no table"):
        replace_table("nothing", table)
    assert set(SHAPES) == {"full", "tiny"}
