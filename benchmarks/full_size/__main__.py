"""Full size, random weights, nothing downloaded: PrefDisc on Idefics2-8B, SDXL with the adapter, ReNO, a QLoRA step.

    make python ARGS="-m benchmarks.full_size --device auto"

Each row says what ran, in how many seconds, what it held at most, and the limit: the larger of what must be multiplied,
over the products that this device does a second, and what must be read, over the bytes that it copies a second; both
measured here first. A row that does not fit into the memory that is free is not begun, and says what it needs. On a
CPU, where a whole row would take an hour, a part of it runs, and the row says which; what the whole would take is an
estimate by the ratio of the limits. The last line is one JSON object.
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
    """All rows. One model is there at a time, but for ReNO's."""
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
    # In four bits where PrefDisc does not fit whole beside the painter.
    whole = PrefDiscBenchmark(device, shapes, "none", seconds)
    needs = whole.size + (shapes.working[1] + whole.working_gib()) * GIB
    prefdisc_benchmark = whole if needs <= device.free() else PrefDiscBenchmark(device, shapes, "nf4", seconds)
    if prefdisc_benchmark.size + shapes.working[1] * GIB <= device.free():
        prefdisc_benchmark.build()
    yield generator.reno(prefdisc_benchmark)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, or cuda:1")
    parser.add_argument("--geometry", choices=list(SHAPES), default="full", help="tiny: the same code in seconds")
    parser.add_argument("--memory", type=float, help="GiB that this process may hold at most (default: what is free)")
    parser.add_argument("--seconds", type=float, default=60, help="about what a row may take before it runs in part")
    parser.add_argument("--out", type=Path, default=OUT, help="where the JSON goes, and the table beside it as .md")
    parser.add_argument("--document", type=Path, help="a Markdown file whose table is to be replaced")
    given = parser.parse_args()
    device = Device(choose_device(given.device), None if given.memory is None else int(given.memory * GIB))
    shapes = SHAPES[given.geometry]
    found = []
    rate, moved = device.matmul_rate(device.dtype) / 1e12, device.bandwidth() / 1e9
    print(f"{device.name}: {rate:.2f} TFLOP/s, {moved:.1f} GB/s")
    for row in rows(device, shapes, given.seconds):
        found.append(row)
        print(line(row), flush=True)
    result = {
        "device": device.name,
        "geometry": shapes.name,
        "dtype": str(device.dtype).removeprefix("torch."),
        "matmul_tflops": round(rate, 3),
        "bandwidth_gb_s": round(moved, 2),
        "torch": torch.__version__,
        "rows": found,
    }
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(result, indent=1) + "\n")
    given.out.with_suffix(".md").write_text(markdown(result))
    if given.document:
        given.document.write_text(replace_table(given.document.read_text(), markdown(result)))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
