"""Ratings under faults: programs killed while they rate, and two that rate at once.

    make python ARGS="-m benchmarks.rating_faults"

A writer is a program of its own that rates one image after the other and says so as soon as the store has answered. It
is killed (SIGKILL, which no program can prepare for) at a random moment, again and again: afterwards every rating that
it had said is in the profile, with its image. Then two writers rate a thousand images together, half of them both: none
is lost, and none is there twice. With `--servers`, whole ComfyUI servers are killed while they are rated over HTTP.
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

from prefgen.profile import Profile, Profiles, StoredImage

PACK = Path(__file__).resolve().parents[1]
OUT = PACK / "out" / "benchmarks" / "rating_faults.json"
NAME = "me"
LONGEST_LIFE = 0.6
"""Seconds after a writer's first word until it is killed, at most: some tens of ratings."""


def picture(number: int) -> StoredImage:
    """An image that no other number has."""
    return StoredImage(Image.new("RGB", (16, 16), (number % 256, number // 256 % 256, number // 65536)))


def write(root: Path, numbers: range) -> None:
    """What a writer does: rate, and say so."""
    me = Profiles(root).profile(NAME)
    for number in numbers:
        rating = me.rate(picture(number), number % 2 == 0, f"prompt {number}")
        print(json.dumps([number, rating.image, rating.liked]), flush=True)


def writer(root: Path, numbers: range) -> subprocess.Popen:
    """A program that does so."""
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


def said(lines: Iterator[str]) -> list[list]:
    """The ratings that were acknowledged; a last line that was cut off was not."""
    return [json.loads(line) for line in lines if line.endswith("\n")]


def missing(me: Profile, acknowledged: list[list]) -> int:
    """How many acknowledged ratings are not in the profile, or have no image that can be read."""
    lost = 0
    for _, image, liked in acknowledged:
        rating = me.rating(image)
        whole = rating is not None and rating.liked is liked
        lost += not (whole and StoredImage.decode(me.image_path(image).read_bytes()).digest == image)
    return lost


def kill_writers(root: Path, kills: int, dice: random.Random) -> dict:
    """Kill one writer after the other, all in one profile."""
    acknowledged: list[list] = []
    for turn in tqdm(range(kills), desc="writers killed"):
        running = writer(root, range(turn * 10_000, (turn + 1) * 10_000))
        first = running.stdout.readline()
        time.sleep(dice.uniform(0, LONGEST_LIFE))
        running.send_signal(signal.SIGKILL)
        acknowledged += said([first, *running.stdout])
        running.wait()
    me = Profiles(root).profile(NAME)
    return {
        "kills": kills,
        "acknowledged": len(acknowledged),
        "lost": missing(me, acknowledged),
        "in_profile": len(me.ratings),
        "lines_cut": me.skipped,
    }


def kill_servers(kills: int, dice: random.Random) -> dict:
    """Kill one ComfyUI after the other while it is rated through its routes."""
    from tests.comfyui import running_server

    acknowledged, lost, seconds = 0, 0, []
    for turn in tqdm(range(kills), desc="servers killed"):
        with running_server(packs={"prefgen": PACK}) as server:
            end, heard = time.monotonic() + 1 + dice.uniform(0, LONGEST_LIFE), []
            number = turn * 10_000
            family = [int(child) for child in children(server.process.pid)]
            while time.monotonic() < end:
                began = time.monotonic()
                heard.append(rate_over_http(server.url, number))
                seconds.append(time.monotonic() - began)
                number += 1
            killer = subprocess.Popen(
                ["sh", "-c", f"sleep {dice.uniform(0, 0.1):.3f}; kill -9 {' '.join(map(str, family))}"]
            )
            while (answer := rate_over_http(server.url, number)) is not None:
                heard.append(answer)
                number += 1
            killer.wait()
            profiles = server.base / "user" / "default" / "prefgen" / "profiles"
            lost += missing(Profiles(profiles).profile(NAME), heard)
            acknowledged += len(heard)
    return {"kills": kills, "acknowledged": acknowledged, "lost": lost, "seconds_a_rating": mean(seconds)}


def children(process: int) -> list[str]:
    """The processes below one: the test server lives under a guard, which is spared."""
    import psutil

    return [str(child.pid) for child in psutil.Process(process).children(recursive=True)]


def rate_over_http(url: str, number: int) -> list | None:
    """One rating through the route: what was acknowledged, or None where the server is gone."""
    liked = number % 2 == 0
    path = f"{url}/prefgen/profiles/{NAME}/ratings?liked={json.dumps(liked)}&prompt=prompt+{number}"
    request = urllib.request.Request(path, picture(number).encode(), {"Content-Type": "image/webp"})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            rating = json.load(answer)["rating"]
            return [number, rating["image"], rating["liked"]]
    except (OSError, ValueError):
        return None


def write_at_once(root: Path, ratings: int) -> dict:
    """Two writers, `ratings` images, half of which both rate."""
    share = ratings * 3 // 4
    began = time.monotonic()
    both = [writer(root, range(share)), writer(root, range(ratings - share, ratings))]
    with ThreadPoolExecutor() as readers:  # at once: a writer whose words nobody takes would wait
        acknowledged = [rating for heard in readers.map(lambda running: said(running.stdout), both) for rating in heard]
    statuses = [running.wait() for running in both]
    seconds = time.monotonic() - began
    me = Profiles(root).profile(NAME)
    lines = (me.folder / "ratings.jsonl").read_text().splitlines()[1:]
    images = [json.loads(line)["image"] for line in lines]
    wanted = {picture(number).digest for number in range(ratings)}
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
    """As many faults of each kind as asked for; `faultless` says that nothing was lost or doubled."""
    dice, result = random.Random(seed), {}
    with tempfile.TemporaryDirectory(prefix="prefgen-faults-") as folder:
        if kills:
            result["killed"] = kill_writers(Path(folder) / "killed", kills, dice)
        if ratings:
            result["at_once"] = write_at_once(Path(folder) / "at_once", ratings)
    if servers:
        result["servers"] = kill_servers(servers, dice)
    faults = [part.get(kind, 0) for part in result.values() for kind in ("lost", "doubled", "writers_failed")]
    return result | {"faultless": not any(faults)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100, help="writers to kill")
    parser.add_argument("--ratings", type=int, default=1000, help="images for two writers at once")
    parser.add_argument(
        "--servers", type=int, default=0, help="whole ComfyUI servers to kill, which start in 10 s each"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the moments at which is killed")
    parser.add_argument("--write", nargs=3, help=argparse.SUPPRESS)  # a writer's own command line
    arguments = parser.parse_args()
    if arguments.write:
        root, first, last = arguments.write
        write(Path(root), range(int(first), int(last)))
        return
    result = run(arguments.kills, arguments.ratings, arguments.servers, arguments.seed)
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(result, indent=1) + "\n")
    for name, row in result.items():
        if isinstance(row, dict):
            print(f"{name:10}" + "  ".join(f"{what} {value}" for what, value in row.items()))
    print(json.dumps(result))
    sys.exit(not result["faultless"])


if __name__ == "__main__":
    main()
