"""What the pack adds to ComfyUI's start: with and without it, in turns, in one run.

    make python ARGS="-m benchmarks.startup --repeats 3"

Two measures: the time until the server answers, and the time that ComfyUI itself logs for importing the pack. The first
is what a person waits, and noisy; the second is what the pack alone costs. The limit is one second.
"""

import argparse
import json
import re
from pathlib import Path
from statistics import median

from tests.comfyui import running_server
from tests.comfyui.server import PACK

OUT = PACK / "out" / "benchmarks" / "startup.json"
LIMIT = 1.0  # seconds
IMPORT_TIME = re.compile(r"([\d.]+) seconds(?: \(IMPORT FAILED\))?: .*custom_nodes/prefgen")


def start_once(packs: dict[str, Path]) -> tuple[float, float]:
    """Start a server with these packs: seconds until it answered, seconds it says importing the pack took."""
    with running_server(packs=packs) as server:
        logged = IMPORT_TIME.search(server.log.read_text(errors="replace"))
        return server.seconds_to_start, float(logged[1]) if logged else 0.0


def measure(repeats: int) -> dict:
    """Medians over `repeats` starts of each kind, after one start of each that only warms the disk's cache."""
    kinds = {"without": {}, "with": {"prefgen": PACK}}
    starts: dict[str, list[tuple[float, float]]] = {kind: [] for kind in kinds}
    for turn in range(repeats + 1):
        for kind in sorted(kinds, reverse=turn % 2 == 1):  # who goes first changes every turn
            timed = start_once(kinds[kind])
            if turn:
                starts[kind].append(timed)
    ready = {kind: round(median(seconds for seconds, _ in timed), 2) for kind, timed in starts.items()}
    return {
        "seconds_to_answer": ready,
        "all_starts": {kind: [round(seconds, 2) for seconds, _ in timed] for kind, timed in starts.items()},
        "added": round(ready["with"] - ready["without"], 2),
        "import_logged": max(seconds for _, seconds in starts["with"]),
        "limit": LIMIT,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    result = measure(parser.parse_args().repeats)
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(result, indent=1) + "\n")
    for kind, seconds in result["seconds_to_answer"].items():
        print(f"{kind + ' the pack':18}{seconds:6.2f} s until the server answers (median)")
    print(f"{'the pack adds':18}{result['added']:6.2f} s; ComfyUI logs {result['import_logged']:.1f} s for its import")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
