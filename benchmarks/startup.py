"""Measures how much the pack adds to ComfyUI's startup time.

    make python ARGS="-m benchmarks.startup --repeats 3"

ComfyUI is started alternately with and without the pack. Three values are measured: the time until the server answers
(noisy on a busy machine), the processor time used until then, and the time that ComfyUI logs for importing the pack.
The limit is one second.
"""

import argparse
import re
from pathlib import Path
from statistics import median

import psutil

from benchmarks.report import write_report
from tests.comfyui import running_server
from tests.comfyui.server import PACK

LIMIT = 1.0  # seconds
IMPORT_TIME = re.compile(r"([\d.]+) seconds(?: \(IMPORT FAILED\))?: .*custom_nodes/prefgen")


def start_once(packs: dict[str, Path]) -> dict[str, float]:
    """Start a server with these packs, and return the startup times in seconds."""
    with running_server(packs=packs) as server:
        family = psutil.Process(server.process.pid).children(recursive=True)
        used = [process.cpu_times() for process in family]
        logged = IMPORT_TIME.search(server.log.read_text(errors="replace"))
        return {
            "answer": server.seconds_to_start,
            "processor": sum(times.user + times.system for times in used),
            "import_logged": float(logged[1]) if logged else 0.0,
        }


def measure(repeats: int) -> dict:
    """Compute medians over `repeats` starts with and without the pack, after one warm-up start of each kind."""
    kinds = {"without": {}, "with": {"prefgen": PACK}}
    starts: dict[str, list[dict[str, float]]] = {kind: [] for kind in kinds}
    for turn in range(repeats + 1):
        for kind in sorted(kinds, reverse=turn % 2 == 1):  # alternate the order
            timed = start_once(kinds[kind])
            if turn:
                starts[kind].append(timed)
    medians = {
        kind: {what: round(median(start[what] for start in timed), 2) for what in timed[0]}
        for kind, timed in starts.items()
    }
    added = {what: round(medians["with"][what] - medians["without"][what], 2) for what in medians["with"]}
    return {"seconds": medians, "added": added, "limit": LIMIT, "starts": starts}


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    result = measure(parser.parse_args().repeats)
    print(f"{'seconds, median':20}{'until it answers':>18}{'of processor':>14}{'pack import, logged':>21}")
    for name, row in [(f"{kind} the pack", row) for kind, row in result["seconds"].items()] + [
        ("added", result["added"])
    ]:
        print(f"{name:20}{row['answer']:18.2f}{row['processor']:14.2f}{row['import_logged']:21.2f}")
    write_report("startup", {key: result[key] for key in ("seconds", "added", "limit")}, starts=result["starts"])


if __name__ == "__main__":
    main()
