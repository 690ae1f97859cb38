"""Runs command lines in a checkout and collects their outputs."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from .outputs import Outputs, failed, image_array, tensor_file, value_text
from .stand_ins import write_images

Command = Callable[[Path, Path, Path], Outputs]
"""(checkout, images to score, empty folder for outputs) -> outputs."""
PEOPLE = "prefgen/pocket/people"
WITH_WORDS = ("sheet.png",)
"""Pictures that contain texts for users. They are not compared."""


class CommandFailed(RuntimeError):
    """A command ended with a non-zero exit status."""


def run_command(command: Command, checkout: Path, before: Path, folder: Path) -> Outputs:
    """Run one command on images from the earlier revision. An error becomes the output."""
    images = folder.parent / "images"
    write_images(before, images)
    folder.mkdir(parents=True)
    try:
        return command(checkout, images, folder)
    except (CommandFailed, OSError, ValueError) as error:
        return failed(error)


def python(checkout: Path, *arguments: str | Path) -> str:
    """Run a module of a checkout and return its standard output."""
    command = [sys.executable, "-m", *map(str, arguments)]
    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True)
    if done.returncode:
        raise CommandFailed(f"status {done.returncode}: {done.stderr.strip()[-500:]}")
    return done.stdout


def demo(checkout: Path, images: Path, folder: Path) -> Outputs:
    python(checkout, "demo")
    written = checkout / "out" / "demo"
    report = json.loads((written / "report.json").read_text())
    pictures = [path for path in sorted(written.glob("*.png")) if path.name not in WITH_WORDS]
    return {path.name: image_array(path) for path in pictures} | {"scores": value_text(report["scores"])}


def score(checkout: Path, images: Path, folder: Path) -> Outputs:
    target = folder / "scores.jsonl"
    python(checkout, "prefgen", "score", images, target, "--users", PEOPLE, "--prompt", "a lighthouse")
    return rows(target)


def encode(checkout: Path, images: Path, folder: Path) -> Outputs:
    target = folder / "embeddings"
    python(checkout, "prefgen", "encode", target, "--users", PEOPLE)
    outputs = rows(target / "index.jsonl")
    for path in sorted(target.glob("*.safetensors")):
        outputs |= tensor_file(path, path.name)
    return outputs


def inspect(checkout: Path, images: Path, folder: Path) -> Outputs:
    report = json.loads(python(checkout, "prefgen", "inspect", "pocket", "--json"))
    return {key: value_text(value) for key, value in report.items() if key != "file"}


def rows(path: Path) -> Outputs:
    """Read a JSONL file; the order of its rows does not matter."""
    lines = sorted(path.read_text().splitlines())
    return {f"row {index}": value_text(json.loads(line)) for index, line in enumerate(lines)}


COMMANDS: dict[str, Command] = {
    "command prefgen score": score,
    "command prefgen encode": encode,
    "command prefgen inspect": inspect,
    "command demo": demo,
}
