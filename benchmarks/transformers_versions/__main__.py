"""Installs, runs and compares the versions."""

import argparse
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.metadata import Distribution
from pathlib import Path

import transformers
from packaging.requirements import Requirement
from packaging.version import Version

from benchmarks import transformers_versions
from benchmarks.report import write_report
from benchmarks.transformers_versions.installed import run_worker
from prefgen.prefdisc.base.base_model import MIN_TRANSFORMERS

TOO_OLD = ("4.46.3", "4.50.3", "4.55.4")
"""Versions that ComfyUI accepts and PrefDisc refuses."""

COMPANIONS = ("huggingface-hub", "tokenizers")
"""Dependencies of transformers. Each version of transformers accepts only a narrow range of their versions."""

TOLERANCE = 0.0
"""Maximum difference between the scores of two versions that count as equal."""


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(
        description=transformers_versions.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--versions", nargs="+", help="versions to run; by default the newest patch of each release")
    versions = parser.parse_args().versions or [*TOO_OLD, *newest_patches(published_versions())]
    result = compare_versions(versions)
    write_report("transformers_versions", result)
    return 0 if result["all_equal"] else 1


def compare_versions(versions: Sequence[str]) -> dict:
    """Install and run versions one after another.

    Returns:
        "reference": the environment's version; "versions": the row of each version, with the largest difference in
        scores for each dtype, or the error message of a refused version; and "all_equal".
    """
    reference = run_worker(None)
    rows = {}
    for version in versions:
        with tempfile.TemporaryDirectory(prefix="prefgen-transformers-") as folder:
            install(version, Path(folder))
            rows[version] = compare(version, run_worker(Path(folder)), reference)
        print(f"{version}: {rows[version]}", flush=True)
    return {
        "reference": transformers.__version__,
        "versions": rows,
        "all_equal": all(row["as_expected"] for row in rows.values()),
    }


def compare(version: str, output: dict, reference: dict) -> dict:
    """Return the row of a version."""
    if Version(version) < Version(MIN_TRANSFORMERS):
        refused = output.get("refused", "")
        named = f"needs transformers {MIN_TRANSFORMERS} or later; found {version}" in refused
        return {"refused": refused or output, "as_expected": named}
    if "scores" not in output:
        return {"failed": output, "as_expected": False}
    differences = {}
    for name, expected in reference["scores"].items():
        scores = output["scores"][name]
        dtype = name.split()[-1]
        largest = max(abs(a - b) for a, b in zip(scores, expected, strict=True))
        differences[dtype] = max(differences.get(dtype, 0.0), largest)
    row = {"largest_difference": differences, "as_expected": max(differences.values()) <= TOLERANCE}
    return row if output["transformers"] == version else row | {"failed": "another version ran", "as_expected": False}


def published_versions() -> list[str]:
    """Return the versions of transformers in pip's index."""
    command = [sys.executable, "-m", "pip", "index", "versions", "transformers"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    (line,) = re.findall(r"^Available versions: (.*)$", text, re.MULTILINE)
    return line.split(", ")


def newest_patches(versions: Sequence[str]) -> list[str]:
    """Return the newest patch of each release since `MIN_TRANSFORMERS`, oldest first."""
    newest: dict[tuple[int, ...], Version] = {}
    for version in sorted(Version(text) for text in versions):
        if version >= Version(MIN_TRANSFORMERS) and not version.is_prerelease:
            newest[version.release[:2]] = version
    return [str(version) for version in newest.values()]


def install(version: str, folder: Path) -> None:
    """Install a version of transformers, and the companions that it accepts, into an empty folder.

    The environment already contains the other dependencies of transformers. The companions are installed with their
    own dependencies, which the environment may lack, such as httpx.
    """
    pip_install(folder, ["--no-deps", f"transformers=={version}"])
    (metadata,) = folder.glob("transformers-*.dist-info")
    required = [Requirement(text) for text in Distribution.at(metadata).requires or ()]
    pip_install(folder, [f"{r.name}{r.specifier}" for r in required if r.name in COMPANIONS and not r.marker])


def pip_install(folder: Path, arguments: list[str]) -> None:
    """Install packages into a folder."""
    options = ["--quiet", "--disable-pip-version-check", "--no-compile", "--upgrade", "--target", str(folder)]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, *arguments], check=True)


if __name__ == "__main__":
    sys.exit(main())
