"""Reads and writes preference checkpoints: .safetensors files with up to four parts and a header.

Tensors are named `prefdisc.`, `alignment.`, `adapter.` and `image_tower.`. The header holds each part's configuration
under its name. A text in place of the configuration of the image tower names the bundled one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from ..errors import CheckpointError
from ..safefile import fingerprint, read_header, read_safefile, write_safefile
from ..validation import format_value, require_choice

KIND = "preference checkpoint"
IMAGE_TOWER = "image_tower"
PARTS = ("prefdisc", "alignment", "adapter", IMAGE_TOWER)


@dataclass(frozen=True)
class Checkpoint:
    """The content of a preference checkpoint.

    Attributes:
        header: JSON values. `header[part]` is present for each part of the file and holds the fields of PrefDiscSpec,
            AlignmentConfig or AdapterConfig. `licence` and `training` may be present.
        tensors: Tensors by full name.
        path: Where the file is.
        fingerprint: Hash of header and tensors.
    """

    header: dict[str, Any]
    tensors: dict[str, Tensor] = field(repr=False)
    path: Path
    fingerprint: str

    def has(self, part: str) -> bool:
        """Return whether the file has a part."""
        return isinstance(self.header.get(part), dict)

    def require(self, part: str) -> dict[str, Any]:
        """Return the configuration of a part. Raises CheckpointError if the file does not have it."""
        if not self.has(part):
            present = ", ".join(name for name in PARTS if self.has(name)) or "nothing"
            raise CheckpointError(f"{self.path.name} has no {part} part (it has: {present}). Choose one with {part}.")
        return self.header[part]

    def part(self, part: str) -> dict[str, Tensor]:
        """Return a part's tensors, named without the part. Raises CheckpointError if the file does not have it."""
        self.require(part)
        prefix = f"{part}."
        return {name.removeprefix(prefix): t for name, t in self.tensors.items() if name.startswith(prefix)}


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read a preference checkpoint.

    Raises:
        CheckpointError: See `read_safefile`. Or the content does not match the fingerprint or the header.
    """
    file = read_safefile(path, KIND)
    damage = [
        f"its header's {name} is {format_value(file.header[name])}"
        for name in (*PARTS, "training")
        if not isinstance(file.header.get(name, {}), (dict, str) if name == IMAGE_TOWER else dict)
    ]
    held = {name.split(".", 1)[0] for name in file.tensors}
    listed = {part for part in PARTS if isinstance(file.header.get(part), dict)}
    if held != listed:
        damage.append(f"it holds tensors of {sorted(held)} and lists {sorted(listed)}")
    actual = fingerprint(file.header, file.tensors)
    if actual != file.header.get("fingerprint"):
        damage.append("it does not match its fingerprint")
    if damage:
        raise CheckpointError(f"{file.path.name} is damaged or was edited: {damage[0]}. Download it again.")
    return Checkpoint(file.header, file.tensors, file.path, actual)


def write_part(
    path: str | Path, part: str, config: Mapping[str, Any], tensors: Mapping[str, Tensor], **header_values: Any
) -> Checkpoint:
    """Write one part into a checkpoint, which is created if necessary. Other parts stay unchanged.

    Args:
        path: The checkpoint.
        part: One of `PARTS`.
        config: The part's configuration.
        tensors: The part's tensors, named without the part.
        **header_values: More values for the header, such as `licence`. `training={...}` is merged by key.

    Returns:
        The checkpoint as written.
    """
    require_choice("part", part, PARTS, CheckpointError)
    path = Path(path)
    previous = read_checkpoint(path) if path.exists() else Checkpoint({}, {}, path, "")
    training = {**previous.header.get("training", {}), **header_values.pop("training", {})}
    header = {**previous.header, **header_values, part: dict(config), "training": training}
    others = {name: tensor for name, tensor in previous.tensors.items() if not name.startswith(f"{part}.")}
    merged = others | {f"{part}.{name}": tensor for name, tensor in tensors.items()}
    header["fingerprint"] = fingerprint(header, merged)
    write_safefile(path, KIND, {k: v for k, v in header.items() if k not in ("kind", "format")}, merged)
    return read_checkpoint(path)


def is_checkpoint(path: Path) -> bool:
    """Return whether a file is a preference checkpoint, by its header."""
    try:
        read_header(path, KIND)
    except CheckpointError:
        return False
    return True
