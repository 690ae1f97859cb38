"""Reads and writes PrefGen's .safetensors files: tensors, and a JSON header under the metadata key `prefgen`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from .errors import CheckpointError
from .validation import errors_as, format_value, matches_type

DOWNLOAD_AGAIN = "Download it again, or choose another file."
KEY = "prefgen"
FORMAT = 1


@dataclass(frozen=True)
class SafeFile:
    """The content of a file.

    Attributes:
        path: Where the file is.
        header: JSON values, with `kind` and `format`.
        tensors: Tensors by name.
    """

    path: Path
    header: dict[str, Any]
    tensors: dict[str, Tensor]


def read_safefile(path: str | Path, kind: str, device: str = "cpu") -> SafeFile:
    """Read a PrefGen file of a kind, such as "preference checkpoint".

    Raises:
        CheckpointError: The file is missing, damaged, not a PrefGen file, of another kind, or of a newer format.
    """
    path = Path(path)
    return SafeFile(path, read_header(path, kind), load_tensors(path, device))


def read_header(path: Path, kind: str) -> dict[str, Any]:
    """Read the header of a PrefGen file without its tensors. Raises what `read_safefile` raises."""
    with open_safetensors(path) as file:
        text = (file.metadata() or {}).get(KEY, "null")
    problem = f"{path.name} has a damaged PrefGen header"
    with errors_as(CheckpointError, problem, "Download it again.", (ValueError, RecursionError)):
        header = json.loads(text)
    if not isinstance(header, dict):
        raise CheckpointError(f"{path.name} has no PrefGen header; expected a PrefGen {kind}. Convert the file first.")
    actual, version = format_value(header.get("kind")), header.get("format", 0)
    if header.get("kind") != kind:
        raise CheckpointError(f"{path.name} is a PrefGen {actual}; expected a PrefGen {kind!r}. Choose another file.")
    if not matches_type(version, int) or not 0 <= version <= FORMAT:
        raise CheckpointError(f"{path.name} has format {version!r}; expected at most {FORMAT}. Update PrefGen.")
    return header


def load_tensors(path: str | Path, device: str = "cpu") -> dict[str, Tensor]:
    """Load all tensors of a .safetensors file.

    Reads the file at once, because `safe_open` of safetensors 0.8 leaks about 60 bytes for each tensor.

    Raises:
        CheckpointError: The file is missing or damaged, or has a tensor of a type that torch cannot read.
    """
    from safetensors.torch import load

    problem = f"{Path(path).name} has a tensor that cannot be read"
    errors = (KeyError, RuntimeError, ValueError)  # an unknown type, or 4-bit floats, whose shape counts halves
    with _safetensors_errors(path) as file, errors_as(CheckpointError, problem, "Convert it to float16.", errors):
        return {name: tensor.to(device) for name, tensor in load(file.read_bytes()).items()}


def read_shapes(path: str | Path) -> dict[str, tuple[int, ...]]:
    """Read the shapes of all tensors of any .safetensors file, without the tensors.

    Raises CheckpointError if the file is missing or damaged.
    """
    with open_safetensors(path) as file:
        return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118


@contextmanager
def open_safetensors(path: str | Path, framework: str = "numpy", device: str = "cpu") -> Iterator[Any]:
    """Open any .safetensors file with safetensors' `safe_open`, whose errors become CheckpointError."""
    from safetensors import safe_open

    with _safetensors_errors(path) as path, safe_open(path, framework, device) as file:
        yield file


@contextmanager
def _safetensors_errors(path: str | Path) -> Iterator[Path]:
    """Raise CheckpointError in place of the errors of reading a .safetensors file."""
    from safetensors import SafetensorError

    path = Path(path)
    if path.exists() and not path.is_file():  # opening a pipe would block
        raise CheckpointError(f"{path} is not a regular file; expected a .safetensors file. Choose another one.")
    with (
        errors_as(CheckpointError, f"{path} could not be read", "Check the path."),
        errors_as(CheckpointError, f"{path.name} is not a complete .safetensors file", DOWNLOAD_AGAIN, SafetensorError),
    ):
        yield path


def write_safefile(path: str | Path, kind: str, header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Write a PrefGen file. It replaces an existing file only when it is complete.

    Raises:
        CheckpointError: The file cannot be written, for example because the disk is full.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    path = Path(path)
    partial = path.with_suffix(".partial")
    value = json.dumps({"kind": kind, "format": FORMAT, **header}, sort_keys=True)
    plain = {name: tensor.detach().contiguous().cpu() for name, tensor in tensors.items()}
    size = sum(tensor.nbytes for tensor in plain.values()) / 2**20
    advice = f"Check that {path.parent} is writable and has {size:,.1f} MiB free."
    try:
        # safetensors reports a full disk as SafetensorError
        with errors_as(CheckpointError, f"{path} could not be written", advice, (OSError, SafetensorError)):
            path.parent.mkdir(parents=True, exist_ok=True)
            save_file(plain, partial, metadata={KEY: value})
            partial.replace(path)
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def fingerprint(header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """Compute the sha256 (hex) of a header and of every tensor's name, type, shape and bytes.

    The header's own `fingerprint`, `kind` and `format` do not count.
    """
    import torch

    digest = hashlib.sha256()
    plain = {k: v for k, v in header.items() if k not in ("fingerprint", "kind", "format")}
    digest.update(json.dumps(plain, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
