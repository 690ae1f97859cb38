"""What a preference checkpoint holds, as JSON and as text."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

from ..checkpoint.file import PARTS, Checkpoint, read_checkpoint

MIB = 2**20


def describe(checkpoint: Checkpoint) -> dict[str, Any]:
    """A checkpoint as JSON: file, MiB, fingerprint, licence, base, training, and of every part its header, its number
    of tensors and parameters, its types, MiB, and the shape of each tensor."""
    prefdisc = checkpoint.header.get("prefdisc", {})
    return {
        "file": str(checkpoint.path),
        "mib": round(checkpoint.path.stat().st_size / MIB, 2),
        "fingerprint": checkpoint.fingerprint,
        "format": checkpoint.header.get("format"),
        "licence": checkpoint.header.get("licence"),
        "base": prefdisc.get("base"),
        "revision": prefdisc.get("revision"),
        "image_tower": checkpoint.header.get("image_tower"),
        "training": checkpoint.header.get("training", {}),
        "parts": {part: _part(checkpoint, part) for part in PARTS if checkpoint.has(part)},
    }


def inspect(path: str | Path) -> dict[str, Any]:
    """Read a file and describe it. Raises CheckpointError as `read_checkpoint` does."""
    return describe(read_checkpoint(path))


def as_text(described: dict[str, Any]) -> str:
    """A description for people: one fact a line. Control characters of a file's own words are shown, not obeyed: it
    cannot write a line that looks like ours."""
    lines = [f"{described['file']}  {described['mib']:.2f} MiB, preference checkpoint, format {described['format']}"]
    facts = {
        "fingerprint": described["fingerprint"],
        "licence": described["licence"] or "not said",
        "base": _base(described),
        "image tower": described["image_tower"],
    }
    lines += [f"{name:13}{value}" for name, value in facts.items() if value]
    lines += [f"{'trained':13}{part}: {_said(summary)}" for part, summary in described["training"].items()]
    for part, about in described["parts"].items():
        kinds = ", ".join(about["dtypes"])
        size = f"{about['parameters']:,} numbers ({kinds}), {about['mib']:.2f} MiB"
        lines += ["", f"{part}: {about['tensors']} tensors, {size}"]
        lines += [
            f"  {name:20}{_said(value)}" for name, value in about["header"].items() if name not in ("base", "revision")
        ]
        lines += [f"  {shape:20}{_times(names)}" for shape, names in _by_shape(about["shapes"]).items()]
    return "\n".join("".join(map(_shown, line)) for line in lines)


def as_json(described: dict[str, Any]) -> str:
    """A description for programs; NaN and infinities, which JSON does not have, as text."""
    return json.dumps(_finite(described), indent=1, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_finite(inner) for inner in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _shown(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode()


def _part(checkpoint: Checkpoint, part: str) -> dict[str, Any]:
    tensors = checkpoint.part(part)
    types = Counter(str(tensor.dtype).removeprefix("torch.") for tensor in tensors.values())
    return {
        "header": checkpoint.header[part],
        "tensors": len(tensors),
        "parameters": sum(tensor.numel() for tensor in tensors.values()),
        "dtypes": sorted(types),
        "mib": round(sum(tensor.nbytes for tensor in tensors.values()) / MIB, 2),
        "shapes": {name: list(tensor.shape) for name, tensor in sorted(tensors.items())},
    }


def _base(described: dict[str, Any]) -> str:
    revision = f" (revision {described['revision']})" if described["revision"] else ""
    return f"{described['base']}{revision}" if described["base"] else "none: no prefdisc part"


def _by_shape(shapes: dict[str, list[int]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, shape in shapes.items():
        found.setdefault(" x ".join(map(str, shape)) or "number", []).append(name)
    return found


def _times(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{len(names)} tensors, such as {names[0]}"


def _said(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_said(inner)}" for key, inner in value.items())
    if isinstance(value, list):
        return "[" + ", ".join(_said(inner) for inner in value[:12]) + (", ..." if len(value) > 12 else "") + "]"
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 200 else f"{text[:90]} ... {text[-90:]}"
