"""Runs every node and every template on this machine's device, in ComfyUI's precisions and memory modes.

    make python ARGS="-m benchmarks.gpu"
    make python ARGS="-m benchmarks.gpu --configurations float32 bfloat16 --only 'node ReNO*'"

Each configuration is a real ComfyUI server with different flags, without `--cpu` if there is a GPU. The graphs are
those in `scripts.compare_revisions`: all templates, with pocket models instead of large ones, and at least one graph
for each node. Pictures are compared with those of the configuration float32. SDXL at full width has random weights, so
its pictures mean nothing; the run shows that memory management, precision and the adapter work at that size.
Configurations that need a GPU are "not measured" without one. The last line is one JSON object.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatch

import numpy as np
import torch

from benchmarks.full_width_sdxl import PACK as FULL_WIDTH_PACK
from benchmarks.full_width_sdxl.graph import full_width_case, write_full_width_files
from benchmarks.report import write_report
from scripts.compare_revisions.cases import Case, new_node_cases, node_cases, workflow_cases
from scripts.compare_revisions.outputs import ERROR, Outputs
from scripts.compare_revisions.running import report_to_stderr, run_on
from scripts.compare_revisions.stand_ins import write_stand_ins
from tests.comfyui import Client, running_server
from tests.comfyui.server import PACK, PROBES

NOT_MEASURED = "not measured"
SAMPLERS = ("KSampler", "CFGGuider", "ReNOOptimize")
"""Nodes that sample a MODEL. The configuration `compile` inserts core's TorchCompileModel before each of them."""


@dataclass(frozen=True)
class Configuration:
    """A way to start ComfyUI.

    Attributes:
        flags: ComfyUI's flags.
        needs_gpu: Whether the flags have no effect on a CPU.
        compiled: Whether every MODEL is compiled before it is sampled.
        full_width: Whether SDXL at full width is run instead of the pocket models.
    """

    flags: tuple[str, ...] = ()
    needs_gpu: bool = False
    compiled: bool = False
    full_width: bool = False


CONFIGURATIONS = {
    "float32": Configuration(("--fp32-unet", "--fp32-vae", "--fp32-text-enc")),
    "float16": Configuration(("--fp16-unet", "--fp16-vae", "--fp16-text-enc")),
    "bfloat16": Configuration(("--bf16-unet", "--bf16-vae", "--bf16-text-enc")),
    "float8": Configuration(("--fp8_e4m3fn-unet", "--fp8_e4m3fn-text-enc")),
    "compile": Configuration(("--fp32-unet", "--fp32-vae", "--fp32-text-enc"), compiled=True),
    "lowvram": Configuration(("--lowvram",), needs_gpu=True),
    "novram": Configuration(("--novram",), needs_gpu=True),
    "smart memory off": Configuration(("--disable-smart-memory",), needs_gpu=True),
    "full width, bfloat16": Configuration(("--bf16-unet",), needs_gpu=True, full_width=True),
    "full width, float16": Configuration(("--fp16-unet",), needs_gpu=True, full_width=True),
    "full width, float8, lowvram": Configuration(("--fp8_e4m3fn-unet", "--lowvram"), needs_gpu=True, full_width=True),
}
"""The pictures of the other configurations are compared with those of the first."""


def main() -> int:
    """Run the benchmark."""
    arguments = parse_arguments()
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    cases = [*workflow_cases(PACK), *node_cases(), *new_node_cases()]
    cases = [case for case in cases if fnmatch(case.name, arguments.only)]
    rows: dict[str, dict | str] = {}
    reference: dict[str, Outputs] = {}
    for name in arguments.configurations:
        configuration = CONFIGURATIONS[name]
        if configuration.needs_gpu and not device and not arguments.all:
            rows[name] = NOT_MEASURED
        else:
            chosen = [full_width_case()] if configuration.full_width else cases
            outputs, rows[name] = run_configuration(configuration, chosen, bool(device), report_to_stderr(name))
            reference = reference or outputs
            rows[name] |= compare_pictures(outputs, reference)
        print(f"{name}: {rows[name]}", flush=True)
    failures = sum(len(row["failed"]) for row in rows.values() if row != NOT_MEASURED)
    result = {"device": device or NOT_MEASURED, "cases": len(cases), "failures": failures, "configurations": rows}
    write_report("gpu", result)
    return 1 if failures else 0


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = list(CONFIGURATIONS)
    parser.add_argument("--configurations", nargs="+", choices=names, default=names, help="configurations to run")
    parser.add_argument("--only", default="*", help="run only the cases whose name matches this pattern")
    parser.add_argument("--all", action="store_true", help="on a CPU, also run configurations for GPUs (needs 12 GB)")
    return parser.parse_args()


def run_configuration(
    configuration: Configuration, cases: list[Case], gpu: bool, report: Callable[[str], None]
) -> tuple[dict[str, Outputs], dict]:
    """Start a server, and run every case.

    Returns:
        The outputs by case name, and a row with the seconds, the number of cases that ran, and the errors of the
        others.
    """
    packs = {"prefgen": PACK, "probes": PROBES, "full_width_sdxl": FULL_WIDTH_PACK}
    flags = [*configuration.flags, *([] if gpu else ["--cpu"])]
    with running_server(packs, flags) as server:
        write_stand_ins(PACK, server.base)
        if configuration.full_width:
            write_full_width_files(server.base)
        began, client = time.monotonic(), Client(server)
        if configuration.compiled:
            cases = [with_compiled_models(case, "inductor" if gpu else "cudagraphs") for case in cases]
        outputs = run_on(client, cases, PACK, report)
    failed = {name: output[ERROR][:300] for name, output in outputs.items() if ERROR in output}
    seconds = round(time.monotonic() - began, 1)
    return outputs, {"seconds": seconds, "ran": len(outputs) - len(failed), "failed": failed}


def with_compiled_models(case: Case, backend: str) -> Case:
    """Return the case with core's TorchCompileModel before every node that samples a MODEL."""
    graph = json.loads(json.dumps(case.graph))
    for node_id, node in list(graph.items()):
        if node["class_type"] in SAMPLERS and isinstance(node["inputs"].get("model"), list):
            compiled = {"model": node["inputs"]["model"], "backend": backend}
            graph[f"{node_id}-compiled"] = {"class_type": "TorchCompileModel", "inputs": compiled}
            node["inputs"]["model"] = [f"{node_id}-compiled", 0]
    return Case(case.name, graph, case.embedding_files, case.reads_user_files)


def compare_pictures(outputs: dict[str, Outputs], reference: dict[str, Outputs]) -> dict[str, float]:
    """Return the mean absolute difference from the reference, in [0, 1]: the median and the maximum of all pictures.

    Charts and the results of noise optimisation are left out. The optimisation amplifies rounding differences, so that
    each precision produces a different picture with about the same reward.
    """
    differences = []
    for name in sorted(set(outputs) & set(reference)):
        if "reno" in name.lower() or "Show" in name:
            continue
        for key, value in outputs[name].items():
            other = reference[name].get(key)
            if isinstance(value, np.ndarray) and isinstance(other, np.ndarray) and value.shape == other.shape:
                scale = 255.0 if value.dtype == np.uint8 else 1.0
                differences.append(float(np.abs(value.astype(np.float32) - other.astype(np.float32)).mean()) / scale)
    if not differences:
        return {}
    return {"median_difference": round(float(np.median(differences)), 5), "max_difference": round(max(differences), 5)}


if __name__ == "__main__":
    sys.exit(main())
