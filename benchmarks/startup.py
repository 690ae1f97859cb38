"""What the pack adds to ComfyUI's start: with and without it, in turns, in one run.

    make python ARGS="-m benchmarks.startup --repeats 3"

Three measures: the time until the server answers, which is what a person waits and noisy on a busy machine; the
processor time it had used by then, which is not; and the time that ComfyUI itself logs for importing the pack. The
limit is one second.
"""

import argparse
import json
import re
from pathlib import Path
from statistics import median

import psutil

from tests.comfyui import running_server
from tests.comfyui.server import PACK

OUT = PACK / "out" / "benchmarks" / "startup.json"
LIMIT = 1.0  # seconds
IMPORT_TIME = re.compile(r"([\d.]+) seconds(?: \(IMPORT FAILED\))?: .*custom_nodes/prefgen")


def start_once(packs: dict[str, Path]) -> dict[str, float]:
    """Start a server with these packs, and say what the start took, in seconds."""
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
    """Medians over `repeats` starts of each kind, after one start of each that only warms the disk's cache."""
    kinds = {"without": {}, "with": {"prefgen": PACK}}
    starts: dict[str, list[dict[str, float]]] = {kind: [] for kind in kinds}
    for turn in range(repeats + 1):
        for kind in sorted(kinds, reverse=turn % 2 == 1):  # who goes first changes every turn
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
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    result = measure(parser.parse_args().repeats)
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(result, indent=1) + "\n")
    print(f"{'seconds, median':20}{'until it answers':>18}{'of processor':>14}{'pack import, logged':>21}")
    for name, row in [(f"{kind} the pack", row) for kind, row in result["seconds"].items()] + [
        ("added", result["added"])
    ]:
        print(f"{name:20}{row['answer']:18.2f}{row['processor']:14.2f}{row['import_logged']:21.2f}")
    print(json.dumps({key: result[key] for key in ("seconds", "added", "limit")}))


if __name__ == "__main__":
    main()
