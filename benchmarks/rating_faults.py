"""Tests ratings under faults: processes killed while they rate, and two processes that rate at the same time.

    make python ARGS="-m benchmarks.rating_faults"

A writer is a process that rates one image after another, and acknowledges each rating once it is stored. Many writers
are killed with SIGKILL at random moments. Afterwards every acknowledged rating must be in the profile, with its image.
Then two writers rate a thousand images at the same time; both rate half of them. No rating may be lost or duplicated.
With `--servers`, whole ComfyUI servers are killed while they receive ratings over HTTP.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image
from tqdm import tqdm

from benchmarks.report import write_report
from prefgen.profile import Profile, Profiles, StoredImage

PACK = Path(__file__).resolve().parents[1]
NAME = "me"
MAX_LIFETIME = 0.6
"""Maximum seconds between a writer's first rating and its end, enough for a few dozen ratings."""


def unique_image(number: int) -> StoredImage:
    """Return an image that is unique to a number."""
    return StoredImage(Image.new("RGB", (16, 16), (number % 256, number // 256 % 256, number // 65536)))


def write(root: Path, numbers: range) -> None:
    """Rate images, and print an acknowledgement for each rating."""
    me = Profiles(root).profile(NAME)
    for number in numbers:
        rating = me.rate(unique_image(number), number % 2 == 0, f"prompt {number}")
        print(json.dumps([number, rating.image, rating.liked]), flush=True)


def writer(root: Path, numbers: range) -> subprocess.Popen:
    """Start a process that runs `write`."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.rating_faults",
        "--write",
        str(root),
        str(numbers.start),
        str(numbers.stop),
    ]
    return subprocess.Popen(command, cwd=PACK, stdout=subprocess.PIPE, text=True)


def parse_acknowledgements(lines: Iterator[str]) -> list[list]:
    """Return the acknowledged ratings. An incomplete last line does not count."""
    return [json.loads(line) for line in lines if line.endswith("\n")]


def missing(me: Profile, acknowledged: list[list]) -> int:
    """Count acknowledged ratings that are not in the profile, or whose image cannot be read."""
    lost = 0
    for _, image, liked in acknowledged:
        rating = me.rating(image)
        is_stored = rating is not None and rating.liked is liked
        lost += not (is_stored and StoredImage.decode(me.image_path(image).read_bytes()).digest == image)
    return lost


def kill_writers(root: Path, kills: int, rng: random.Random) -> dict:
    """Start and kill writers one after another. All of them write to the same profile."""
    acknowledged: list[list] = []
    for turn in tqdm(range(kills), desc="writers killed"):
        running = writer(root, range(turn * 10_000, (turn + 1) * 10_000))
        first = running.stdout.readline()
        time.sleep(rng.uniform(0, MAX_LIFETIME))
        running.send_signal(signal.SIGKILL)
        acknowledged += parse_acknowledgements([first, *running.stdout])
        running.wait()
    me = Profiles(root).profile(NAME)
    return {
        "kills": kills,
        "acknowledged": len(acknowledged),
        "lost": missing(me, acknowledged),
        "in_profile": len(me.ratings),
        "lines_cut": me.skipped,
    }


def kill_servers(kills: int, rng: random.Random) -> dict:
    """Start and kill ComfyUI servers one after another, each while ratings are sent to its routes."""
    from tests.comfyui import running_server

    acknowledged, lost, seconds = 0, 0, []
    for turn in tqdm(range(kills), desc="servers killed"):
        with running_server(packs={"prefgen": PACK}) as server:
            end, received = time.monotonic() + 1 + rng.uniform(0, MAX_LIFETIME), []
            number = turn * 10_000
            family = [int(child) for child in children(server.process.pid)]
            while time.monotonic() < end:
                began = time.monotonic()
                received.append(rate_over_http(server.url, number))
                seconds.append(time.monotonic() - began)
                number += 1
            killer = subprocess.Popen(
                ["sh", "-c", f"sleep {rng.uniform(0, 0.1):.3f}; kill -9 {' '.join(map(str, family))}"]
            )
            while (response := rate_over_http(server.url, number)) is not None:
                received.append(response)
                number += 1
            killer.wait()
            profiles = server.base / "user" / "default" / "prefgen" / "profiles"
            lost += missing(Profiles(profiles).profile(NAME), received)
            acknowledged += len(received)
    return {"kills": kills, "acknowledged": acknowledged, "lost": lost, "seconds_a_rating": mean(seconds)}


def children(process: int) -> list[str]:
    """Return the ids of a process's descendants, but not of the process itself, which guards the test server."""
    import psutil

    return [str(child.pid) for child in psutil.Process(process).children(recursive=True)]


def rate_over_http(url: str, number: int) -> list | None:
    """Send one rating, and return the acknowledged rating, or None if the server has ended."""
    liked = number % 2 == 0
    path = f"{url}/prefgen/profiles/{NAME}/ratings?liked={json.dumps(liked)}&prompt=prompt+{number}"
    request = urllib.request.Request(path, unique_image(number).encode(), {"Content-Type": "image/webp"})
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            rating = json.load(response)["rating"]
            return [number, rating["image"], rating["liked"]]
    except (OSError, ValueError):
        return None


def write_at_once(root: Path, ratings: int) -> dict:
    """Let two writers rate `ratings` images at the same time. Both writers rate half of the images."""
    share = ratings * 3 // 4
    began = time.monotonic()
    both = [writer(root, range(share)), writer(root, range(ratings - share, ratings))]
    with ThreadPoolExecutor() as readers:  # in parallel, because a writer blocks when its output is not read
        acknowledged = [
            rating
            for output in readers.map(lambda running: parse_acknowledgements(running.stdout), both)
            for rating in output
        ]
    statuses = [running.wait() for running in both]
    seconds = time.monotonic() - began
    me = Profiles(root).profile(NAME)
    lines = (me.folder / "ratings.jsonl").read_text().splitlines()[1:]
    images = [json.loads(line)["image"] for line in lines]
    wanted = {unique_image(number).digest for number in range(ratings)}
    return {
        "ratings": ratings,
        "acknowledged": len(acknowledged),
        "lost": len(wanted - set(images)) + missing(me, acknowledged),
        "doubled": len(images) - len(set(images)),
        "lines_cut": me.skipped,
        "writers_failed": sum(status != 0 for status in statuses),
        "seconds": round(seconds, 1),
    }


def mean(values: list[float]) -> float | None:
    return round(sum(values) / len(values), 4) if values else None


def run(kills: int, ratings: int, servers: int, seed: int) -> dict:
    """Run the requested tests. In the result, `faultless` is true if nothing was lost or duplicated."""
    rng, result = random.Random(seed), {}
    with tempfile.TemporaryDirectory(prefix="prefgen-faults-") as folder:
        if kills:
            result["killed"] = kill_writers(Path(folder) / "killed", kills, rng)
        if ratings:
            result["at_once"] = write_at_once(Path(folder) / "at_once", ratings)
    if servers:
        result["servers"] = kill_servers(servers, rng)
    faults = [part.get(kind, 0) for part in result.values() for kind in ("lost", "doubled", "writers_failed")]
    return result | {"faultless": not any(faults)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100, help="number of writers to kill")
    parser.add_argument("--ratings", type=int, default=1000, help="number of images that two simultaneous writers rate")
    parser.add_argument("--servers", type=int, default=0, help="number of servers to kill; each takes 10 s to start")
    parser.add_argument("--seed", type=int, default=0, help="seed for the times at which processes are killed")
    parser.add_argument("--write", nargs=3, help=argparse.SUPPRESS)  # used by the writers
    arguments = parser.parse_args()
    if arguments.write:
        root, first, last = arguments.write
        write(Path(root), range(int(first), int(last)))
        return
    result = run(arguments.kills, arguments.ratings, arguments.servers, arguments.seed)
    for name, row in result.items():
        if isinstance(row, dict):
            print(f"{name:10}" + "  ".join(f"{what} {value}" for what, value in row.items()))
    write_report("rating_faults", result)
    sys.exit(not result["faultless"])


if __name__ == "__main__":
    main()
