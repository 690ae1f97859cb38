"""The environment that every `make` target runs in, made once and kept outside the tree.

    python3 scripts/environment.py run -- ARGS...    run Python with ARGS in it (what `make` does)
    python3 scripts/environment.py show              print where its Python and its ComfyUI are

Standard library only. In the cache folder ($XDG_CACHE_HOME or ~/.cache, then prefgen/) there is one virtual
environment for every lock and Python version, and one ComfyUI, both shared by all checkouts. COMFYUI_PATH names a
ComfyUI of your own instead.
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
DONE = "complete"  # the file that says an installation was finished


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=("run", "show"))
    parser.add_argument("arguments", nargs=argparse.REMAINDER)
    asked = parser.parse_args()
    use_supported_python()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "prefgen"
    cache.mkdir(parents=True, exist_ok=True)
    own = os.environ.get("COMFYUI_PATH")
    requirements = [LOCK, *own_requirements(own)]
    python = environment(cache, requirements)
    comfyui = Path(own).expanduser().resolve() if own else shared_comfyui(cache, python)
    if asked.command == "show":
        print(python, comfyui, sep="\n")
        return 0
    arguments = asked.arguments[1:] if asked.arguments[:1] == ["--"] else asked.arguments
    os.environ["COMFYUI_PATH"] = str(comfyui)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.chdir(ROOT)
    os.execv(python, [str(python), *arguments])
    return 1


def use_supported_python() -> None:
    """Go on under Python 3.11 to 3.13: this one, or one that is installed beside it."""
    if ".".join(map(str, sys.version_info[:2])) in PYTHONS:
        return
    for version in PYTHONS:
        other = shutil.which(f"python{version}")
        if other:
            os.execv(other, [other, *sys.argv])
    raise SystemExit(
        f"This is Python {platform.python_version()} and no other is on the PATH: install one of "
        f"{', '.join(PYTHONS)}, or name it: make PYTHON=/path/to/python3.12 ..."
    )


def own_requirements(comfyui: str | None) -> list[Path]:
    """What a ComfyUI of the user's own asks for beyond the lock."""
    if not comfyui:
        return []
    folder = Path(comfyui).expanduser()
    if not (folder / "main.py").is_file():
        raise SystemExit(
            f"COMFYUI_PATH is {comfyui!r}, which holds no main.py: set it to a ComfyUI folder, or unset it."
        )
    return [folder / "requirements.txt"]


def environment(cache: Path, requirements: list[Path]) -> Path:
    """The Python of the environment that these requirements name; made first if it is not there."""
    key = hashlib.sha256(platform.machine().encode())
    for path in requirements:
        key.update(path.read_bytes())
    version = ".".join(map(str, sys.version_info[:2]))
    folder = cache / "environments" / f"python{version}-{key.hexdigest()[:16]}"
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not ((folder / DONE).exists() and python.exists()):
        with only_one(cache / "environments.lock"):
            if not ((folder / DONE).exists() and python.exists()):  # another checkout may have made it meanwhile
                make_environment(folder, python, requirements)
    return python


def make_environment(folder: Path, python: Path, requirements: list[Path]) -> None:
    say(f"installing into {folder}: once, about 7 GB, some minutes")
    shutil.rmtree(folder, ignore_errors=True)  # what a killed installation left
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = subprocess.run([sys.executable, "-m", "venv", str(folder)], capture_output=True, text=True)
    if made.returncode:
        raise SystemExit(
            f"{made.stdout}{made.stderr}\n{sys.executable} cannot make a virtual environment: where Python comes in "
            "parts (Debian, Ubuntu), install python3-venv."
        )
    install(python, requirements, say)
    (folder / DONE).write_text("\n".join(map(str, requirements)) + "\n")


def shared_comfyui(cache: Path, python: Path) -> Path:
    """The ComfyUI of the cache folder, fetched first if it is not there."""
    with only_one(cache / "comfyui.lock"):
        return fetch_comfyui(cache / "comfyui", python, say)


@contextlib.contextmanager
def only_one(path: Path):
    """Hold a lock file, so that of several checkouts one installs and the others wait for it."""
    with path.open("a") as file:
        try:
            import fcntl
        except ImportError:  # Windows: no lock, installing twice at once is on the user
            yield
            return
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            say("waiting for another checkout that is installing")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def say(text: str) -> None:
    print(f"environment: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
