"""Runs `scores.py` in a process that imports transformers from a given folder."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def run_worker(folder: Path | None) -> dict:
    """Return what `scores.py` prints, or the end of its error output.

    Args:
        folder: Folder with a transformers installation. None uses the environment's installation.
    """
    paths = [str(path) for path in (folder, ROOT) if path]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "benchmarks.transformers_versions.scores"]
    ran = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True)
    if ran.returncode:
        return {"failed": ran.stderr[-600:]}
    return json.loads(ran.stdout.splitlines()[-1])
