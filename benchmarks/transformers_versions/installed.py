"""Runs the scores in a process whose transformers lies in a folder."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def run_worker(folder: Path | None) -> dict:
    """Return what `scores.py` prints, or the end of its error output.

    Args:
        folder: Folder of a transformers installation. None uses the environment's.
    """
    paths = [str(path) for path in (folder, ROOT) if path]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "benchmarks.transformers_versions.scores"]
    ran = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True)
    if ran.returncode:
        return {"failed": ran.stderr[-600:]}
    return json.loads(ran.stdout.splitlines()[-1])
