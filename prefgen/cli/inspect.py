"""The command `inspect`: describes a preference checkpoint as text or JSON."""

from __future__ import annotations

import argparse
import json
import math
from collections import Counter
from typing import Any

from ..checkpoint.file import PARTS, Checkpoint, read_checkpoint
from .options import POCKET

MIB = 2**20


def add_inspect(commands: argparse._SubParsersAction) -> None:
    """Add the command `inspect`."""
    parser = commands.add_parser(
        "inspect",
        help="describe a preference checkpoint",
        description="Describe a preference checkpoint: parts, base model, shapes, verified fingerprint, licence.",
    )
    parser.add_argument("file", help=f'a .safetensors file, or "{POCKET}" for the bundled one')
    parser.add_argument("--json", action="store_true", help="print JSON, with the shape of every tensor")
    parser.set_defaults(run=inspect)


def inspect(options: argparse.Namespace) -> str:
    """Describe a file.

    Raises:
        CheckpointError: The file is not a valid checkpoint.
    """
    from ..pocket.shapes import weights_path

    path = weights_path("preference") if options.file == POCKET else options.file
    description = describe(read_checkpoint(path))
    return format_json(description) if options.json else format_text(description)


def describe(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return a description of a checkpoint as JSON values.

    Returns:
        File, MiB, fingerprint, licence, base model and training; and for every part its header, its numbers of tensors
        and parameters, its dtypes, MiB, and the shape of every tensor.
    """
    prefdisc, tower = checkpoint.header.get("prefdisc", {}), checkpoint.header.get("image_tower")
    return {
        "file": str(checkpoint.path),
        "mib": round(checkpoint.path.stat().st_size / MIB, 2),
        "fingerprint": checkpoint.fingerprint,
        "format": checkpoint.header.get("format"),
        "licence": checkpoint.header.get("licence"),
        "base": prefdisc.get("base"),
        "revision": prefdisc.get("revision"),
        "image_tower": tower.get("source") if isinstance(tower, dict) else tower,
        "training": checkpoint.header.get("training", {}),
        "parts": {part: _describe_part(checkpoint, part) for part in PARTS if checkpoint.has(part)},
    }


def format_text(description: dict[str, Any]) -> str:
    """Format a description with one fact in each line.

    Control characters in texts of the file are escaped, so that a file cannot imitate our output.
    """
    summary = f"{description['mib']:.2f} MiB, preference checkpoint, format {description['format']}"
    lines = [f"{description['file']}  {summary}"]
    facts = {
        "fingerprint": description["fingerprint"],
        "licence": description["licence"] or "not specified",
        "base": _format_base(description),
        "image tower": description["image_tower"],
    }
    lines += [f"{name:13}{value}" for name, value in facts.items() if value]
    lines += [f"{'trained':13}{part}: {_format_value(summary)}" for part, summary in description["training"].items()]
    for part, details in description["parts"].items():
        dtypes = ", ".join(details["dtypes"])
        size = f"{details['parameters']:,} parameters ({dtypes}), {details['mib']:.2f} MiB"
        lines += ["", f"{part}: {details['tensors']} tensors, {size}"]
        header = {name: value for name, value in details["header"].items() if name not in ("base", "revision")}
        lines += [f"  {name:20}{_format_value(value)}" for name, value in header.items()]
        lines += [f"  {shape:20}{_format_names(names)}" for shape, names in _group_by_shape(details["shapes"]).items()]
    return "\n".join("".join(map(_escape, line)) for line in lines)


def format_json(description: dict[str, Any]) -> str:
    """Format a description as JSON. NaN and infinity, which JSON lacks, become text."""
    return json.dumps(_replace_nonfinite(description), indent=1, allow_nan=False)


def _replace_nonfinite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _replace_nonfinite(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_replace_nonfinite(inner) for inner in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _escape(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode()


def _describe_part(checkpoint: Checkpoint, part: str) -> dict[str, Any]:
    tensors = checkpoint.part(part)
    dtypes = Counter(str(tensor.dtype).removeprefix("torch.") for tensor in tensors.values())
    return {
        "header": checkpoint.header[part],
        "tensors": len(tensors),
        "parameters": sum(tensor.numel() for tensor in tensors.values()),
        "dtypes": sorted(dtypes),
        "mib": round(sum(tensor.nbytes for tensor in tensors.values()) / MIB, 2),
        "shapes": {name: list(tensor.shape) for name, tensor in sorted(tensors.items())},
    }


def _format_base(description: dict[str, Any]) -> str:
    revision = f" (revision {description['revision']})" if description["revision"] else ""
    return f"{description['base']}{revision}" if description["base"] else "none: no prefdisc part"


def _group_by_shape(shapes: dict[str, list[int]]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for name, shape in shapes.items():
        groups.setdefault(" x ".join(map(str, shape)) or "scalar", []).append(name)
    return groups


def _format_names(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{len(names)} tensors, such as {names[0]}"


def _format_value(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_format_value(inner)}" for key, inner in value.items())
    if isinstance(value, list):
        return "[" + ", ".join(map(_format_value, value[:12])) + (", ..." if len(value) > 12 else "") + "]"
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 200 else f"{text[:90]} ... {text[-90:]}"
