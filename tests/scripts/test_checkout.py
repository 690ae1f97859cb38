"""Tests that the test suite runs in a checkout with any folder name, including the name of the package."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", ["prefgen", "ComfyUI-PrefGen"])
def test_a_checkout_may_be_called_as_the_package_is(tmp_path, name):
    checkout = tmp_path / name
    for file in ("__init__.py", "pyproject.toml", "prefgen/__init__.py", "prefgen/errors.py", "tests/__init__.py"):
        (checkout / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / file, checkout / file)
    (checkout / "tests" / "test_one.py").write_text(
        "from prefgen.errors import PrefGenError\n\n\ndef test_one():\n    assert issubclass(PrefGenError, Exception)\n"
    )
    run = subprocess.run([sys.executable, "-m", "pytest", "-q"], cwd=checkout, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
