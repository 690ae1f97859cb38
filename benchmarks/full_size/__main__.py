"""Measures PrefDisc on Idefics2-8B, SDXL with the adapter, ReNO and a QLoRA step at full size, with random weights.

    make python ARGS="-m benchmarks.full_size --device auto"

Nothing is downloaded. Each row has the time, the peak memory, and the roofline limit: the larger of the required
floating point operations divided by the device's measured FLOP/s, and the required memory reads divided by its measured
bandwidth. A row that does not fit into free memory is skipped and reports how much memory it needs. On a CPU, where a
row could take an hour, only a part of it runs; the time of the whole row is then estimated from the ratio of the
limits. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import gc
import json
from collections.abc import Iterator
from pathlib import Path

import torch

from benchmarks.full_size.device import GIB, Device, choose_device
from benchmarks.full_size.generator_benchmark import GeneratorBenchmark
from benchmarks.full_size.prefdisc_benchmark import PrefDiscBenchmark
from benchmarks.full_size.random_models import load_comfyui
from benchmarks.full_size.shapes import SHAPES, Shapes
from benchmarks.full_size.table import line, markdown, replace_table

OUT = Path(__file__).resolve().parents[2] / "out" / "benchmarks" / "full_size.json"
PRECISIONS = ("none", "nf4")


def rows(device: Device, shapes: Shapes, seconds: float) -> Iterator[dict]:
    """Measure all rows. One model is in memory at a time, except for ReNO."""
    for quantize in PRECISIONS:
        prefdisc_benchmark = PrefDiscBenchmark(device, shapes, quantize, seconds)
        yield prefdisc_benchmark.build()
        yield from prefdisc_benchmark.rows()
        if quantize == "nf4":
            yield prefdisc_benchmark.train()
        del prefdisc_benchmark
        gc.collect()
    pack = load_comfyui(device.torch_device)
    generator = GeneratorBenchmark(device, shapes, pack, seconds)
    yield from generator.rows()
    # ReNO uses PrefDisc in 4 bits if it does not fit in full precision next to the generator.
    full_precision = PrefDiscBenchmark(device, shapes, "none", seconds)
    needs = full_precision.size + (shapes.working[1] + full_precision.working_gib()) * GIB
    prefdisc_benchmark = full_precision if needs <= device.free() else PrefDiscBenchmark(device, shapes, "nf4", seconds)
    if prefdisc_benchmark.size + shapes.working[1] * GIB <= device.free():
        prefdisc_benchmark.build()
    yield generator.reno(prefdisc_benchmark)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, or cuda:1")
    parser.add_argument("--geometry", choices=list(SHAPES), default="full", help="tiny runs the same code in seconds")
    parser.add_argument("--memory", type=float, help="memory limit of this process in GiB (default: all free memory)")
    parser.add_argument(
        "--seconds", type=float, default=60, help="approximate seconds per row; only a part of longer rows is run"
    )
    parser.add_argument("--out", type=Path, default=OUT, help="JSON file; the table is written next to it as .md")
    parser.add_argument("--document", type=Path, help="Markdown file in which the table is replaced")
    arguments = parser.parse_args()
    device = Device(choose_device(arguments.device), None if arguments.memory is None else int(arguments.memory * GIB))
    shapes = SHAPES[arguments.geometry]
    measured_rows = []
    tflops, bandwidth = device.matmul_rate(device.dtype) / 1e12, device.bandwidth() / 1e9
    print(f"{device.name}: {tflops:.2f} TFLOP/s, {bandwidth:.1f} GB/s")
    for row in rows(device, shapes, arguments.seconds):
        measured_rows.append(row)
        print(line(row), flush=True)
    result = {
        "device": device.name,
        "geometry": shapes.name,
        "dtype": str(device.dtype).removeprefix("torch."),
        "matmul_tflops": round(tflops, 3),
        "bandwidth_gb_s": round(bandwidth, 2),
        "torch": torch.__version__,
        "rows": measured_rows,
    }
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(result, indent=1) + "\n")
    arguments.out.with_suffix(".md").write_text(markdown(result))
    if arguments.document:
        arguments.document.write_text(replace_table(arguments.document.read_text(), markdown(result)))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
