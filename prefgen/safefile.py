"""A .safetensors file with our header: one JSON value under the metadata key `prefgen`. All that we read and write."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from .errors import CheckpointError

KEY = "prefgen"
FORMAT = 1
LONGEST_HEADER = 100_000_000
"""Bytes; what the safetensors library itself accepts."""


@dataclass(frozen=True)
class SafeFile:
    """What a file holds: its header (with `kind` and `format`), its tensors, and where it lies."""

    path: Path
    header: dict[str, Any]
    tensors: dict[str, Tensor]


def read_safefile(path: str | Path, kind: str, device: str = "cpu") -> SafeFile:
    """Read a file of ours of this kind.

    Raises CheckpointError where the file is missing, cut short, no safetensors, not ours, of another kind, or of a
    newer format.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = Path(path)
    header = read_header(path, kind)
    try:
        return SafeFile(path, header, load_file(path, device=device))
    except SafetensorError as error:
        raise CheckpointError(f"{path.name} is damaged ({error}): get the file again.") from error


def read_header(path: Path, kind: str) -> dict[str, Any]:
    """The header alone, without reading tensors. Raises as `read_safefile` does."""
    found = read_listing(path).get("__metadata__", {}).get(KEY)
    try:
        header = json.loads(found) if found is not None else None
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path.name} has a damaged PrefGen header ({error}): get the file again.") from error
    if not isinstance(header, dict) or "kind" not in header:
        raise CheckpointError(
            f"{path.name} is a .safetensors file without a PrefGen header, expected a PrefGen {kind}: "
            "choose a file made by PrefGen, or convert this one first."
        )
    held, version = header["kind"], header.get("format", 0)
    if not isinstance(held, str) or not held.isprintable() or type(version) is not int:
        raise CheckpointError(
            f"{path.name} has a damaged PrefGen header (kind {held!r}, format {version!r}), expected a name and a "
            "number: get the file again."
        )
    if held != kind:
        raise CheckpointError(f"{path.name} is a PrefGen {held}, expected a PrefGen {kind}: choose another file.")
    if version > FORMAT:
        raise CheckpointError(f"{path.name} has format {version}, this pack reads up to {FORMAT}: update the pack.")
    return header


def write_safefile(path: str | Path, kind: str, header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Write a file of ours; beside and moved into place, so that a crash leaves the file before.

    Raises CheckpointError where it cannot be written, as on a full disk; nothing is left of it then.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    path = Path(path)
    beside = path.with_suffix(".partial")
    value = json.dumps({"kind": kind, "format": FORMAT, **header}, sort_keys=True)
    plain = {k: v.detach().contiguous().cpu() for k, v in tensors.items()}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(plain, beside, metadata={KEY: value})
        beside.replace(path)
    except (OSError, SafetensorError) as error:
        # A full disk is the library's own error, and no OSError.
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        size = sum(tensor.nbytes for tensor in plain.values())
        raise CheckpointError(
            f"{path} could not be written ({error}): check that {path.parent} is yours to write to and has "
            f"{size / 2**20:,.1f} MiB free."
        ) from error


def fingerprint(header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """sha256 (hex) of the header (but for a fingerprint in it) and of every tensor's name, type, shape and bytes."""
    import torch

    digest = hashlib.sha256()
    plain = {k: v for k, v in header.items() if k not in ("fingerprint", "kind", "format")}
    digest.update(json.dumps(plain, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def read_listing(path: str | Path) -> dict[str, Any]:
    """Any safetensors file's own header: for each tensor its dtype, shape and data_offsets; `__metadata__` beside them.

    Raises CheckpointError where the file is missing, no safetensors, shorter than its header says (what a broken
    download fails), or of a name that is no text. What is returned has the format's shape: names and numbers are where
    they should be.
    """
    path = Path(path)
    try:
        str(path).encode()
    except UnicodeEncodeError as error:  # which safetensors does not open
        raise CheckpointError(f"{path} has a name that is not UTF-8: rename the file.") from error
    if path.exists() and not path.is_file():  # a pipe would be waited for
        raise CheckpointError(f"{path} is no regular file, expected a .safetensors file: choose another.")
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            # A length and then JSON is how the format begins; other formats read as a huge length or other bytes.
            text = file.read(min(length, LONGEST_HEADER))
    except OSError as error:
        raise CheckpointError(f"{path} could not be read ({error.strerror}): check its name and place.") from error
    if size < 8 or length > LONGEST_HEADER or text[:1] not in (b"{", b""):
        raise CheckpointError(
            f"{path.name} is not a .safetensors file, which is the only kind PrefGen reads: choose another file, or "
            "convert this one first."
        )
    if len(text) < length:
        raise CheckpointError(_cut_short(path, size, 8 + length))
    try:
        listing = json.loads(text)
        ends = [_end(entry) for name, entry in _checked(listing).items() if name != "__metadata__"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CheckpointError(
            f"{path.name} is not a .safetensors file (its list of tensors cannot be read): choose another file."
        ) from error
    expected = 8 + length + max(ends, default=0)
    if size < expected:
        raise CheckpointError(_cut_short(path, size, expected))
    return listing


def _checked(listing: Any) -> dict[str, Any]:
    if not isinstance(listing, dict):
        raise TypeError(f"a list of tensors that is a {type(listing).__name__}")
    said = listing.get("__metadata__", {})
    if not isinstance(said, dict) or not all(isinstance(value, str) for value in said.values()):
        raise TypeError("metadata that is not text by name")
    return listing


def _end(entry: Any) -> int:
    """Where a tensor's bytes end. Raises TypeError, ValueError or KeyError for what describes no tensor."""
    if not isinstance(entry, dict) or not isinstance(entry["dtype"], str) or not isinstance(entry["shape"], list):
        raise TypeError("a tensor without type and shape")
    begin, end = entry["data_offsets"]
    if not all(type(number) is int and number >= 0 for number in (*entry["shape"], begin, end)):
        raise TypeError("a tensor with a shape or place that is no number")
    return end


def _cut_short(path: Path, found: int, expected: int) -> str:
    return f"{path.name} is cut short: found {found:,} bytes, expected {expected:,} or more. Download or copy it again."
