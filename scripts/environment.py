"""Creates the environment of all `make` targets once, outside the repository, and runs Python in it.

    python3 scripts/environment.py run -- ARGS...    run Python with ARGS (used by `make`)
    python3 scripts/environment.py show              print the paths of its Python and its ComfyUI

Uses the standard library only. The cache folder ($XDG_CACHE_HOME or ~/.cache, then prefgen/) has one virtual
environment for each lock file and Python version, and one ComfyUI, both shared by all checkouts. Set COMFYUI_PATH to
use your own ComfyUI.
"""

import argparse
import contextlib
import hashlib
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

from comfyui_source import fetch_comfyui
from installing import install

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements" / "environment.lock"
PYTHONS = ("3.13", "3.12", "3.11")
DONE = "complete"  # marker file of a finished installation


def main() -> int:
    """Create the environment if needed, then run or show it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=("run", "show"))
    parser.add_argument("arguments", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    use_supported_python()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "prefgen"
    cache.mkdir(parents=True, exist_ok=True)
    custom_comfyui = os.environ.get("COMFYUI_PATH")
    requirements = [LOCK, *custom_requirements(custom_comfyui)]
    python = environment(cache, requirements)
    comfyui = Path(custom_comfyui).expanduser().resolve() if custom_comfyui else shared_comfyui(cache, python)
    if options.command == "show":
        print(python, comfyui, sep="\n")
        return 0
    arguments = options.arguments[1:] if options.arguments[:1] == ["--"] else options.arguments
    os.environ["COMFYUI_PATH"] = str(comfyui)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.chdir(ROOT)
    os.execv(python, [str(python), *arguments])
    return 1


def use_supported_python() -> None:
    """Restart with Python 3.11, 3.12 or 3.13 from the PATH, unless one of these versions is already running."""
    if ".".join(map(str, sys.version_info[:2])) in PYTHONS:
        return
    for version in PYTHONS:
        other = shutil.which(f"python{version}")
        if other:
            os.execv(other, [other, *sys.argv])
    raise SystemExit(
        f"Python is {platform.python_version()}; expected one of {', '.join(PYTHONS)}. Install one, or pass its path: "
        "make PYTHON=/path/to/python3.12 ..."
    )


def custom_requirements(comfyui: str | None) -> list[Path]:
    """Return the requirements file of a custom ComfyUI, or nothing."""
    if not comfyui:
        return []
    folder = Path(comfyui).expanduser()
    if not (folder / "main.py").is_file():
        raise SystemExit(
            f"COMFYUI_PATH is {comfyui!r}, which contains no main.py. Set it to a ComfyUI folder, or unset it."
        )
    return [folder / "requirements.txt"]


def environment(cache: Path, requirements: list[Path]) -> Path:
    """Return the Python of the environment with these requirements; create it first if it does not exist."""
    key = hashlib.sha256(platform.machine().encode())
    for path in requirements:
        key.update(path.read_bytes())
    version = ".".join(map(str, sys.version_info[:2]))
    folder = cache / "environments" / f"python{version}-{key.hexdigest()[:16]}"
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not ((folder / DONE).exists() and python.exists()):
        with file_lock(cache / "environments.lock"):
            if not ((folder / DONE).exists() and python.exists()):  # another checkout may have created it
                make_environment(folder, python, requirements)
    return python


def make_environment(folder: Path, python: Path, requirements: list[Path]) -> None:
    """Create a virtual environment in `folder`, and install the requirements."""
    log(f"installing into {folder} (only once; takes about 7 GB and some minutes)")
    shutil.rmtree(folder, ignore_errors=True)  # left by an interrupted installation
    folder.parent.mkdir(parents=True, exist_ok=True)
    result = subprocess.run([sys.executable, "-m", "venv", str(folder)], capture_output=True, text=True)
    if result.returncode:
        raise SystemExit(
            f"{result.stdout}{result.stderr}\n{sys.executable} cannot create a virtual environment. On Debian and "
            "Ubuntu, install python3-venv."
        )
    install(python, requirements, log)
    (folder / DONE).write_text("\n".join(map(str, requirements)) + "\n")


def shared_comfyui(cache: Path, python: Path) -> Path:
    """Return the ComfyUI in the cache folder; download it first if it does not exist."""
    with file_lock(cache / "comfyui.lock"):
        return fetch_comfyui(cache / "comfyui", python, log)


@contextlib.contextmanager
def file_lock(path: Path):
    """Lock a file, so that only one checkout installs at a time and the others wait."""
    with path.open("a") as file:
        try:
            import fcntl
        except ImportError:  # Windows has no fcntl, so nothing is locked
            yield
            return
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            log("waiting for another checkout that is installing")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def log(text: str) -> None:
    """Print a progress message to stderr."""
    print(f"environment: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
