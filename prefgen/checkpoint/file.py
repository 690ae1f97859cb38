"""A preference checkpoint: one .safetensors file with any of three parts, and a header that says what they are.

Tensors lie under `prefdisc.`, `alignment.` and `adapter.`; the header holds each part's shapes under the part's name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from ..errors import CheckpointError
from ..safefile import fingerprint, read_header, read_safefile, write_safefile

KIND = "preference checkpoint"
PARTS = ("prefdisc", "alignment", "adapter")


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint as it lies on disk.

    header: JSON. `header[part]` is present for each part the file has: the fields of PrefDiscSpec, AlignmentConfig,
    AdapterConfig; beside them `licence` and `training`. tensors: by their full names.
    """

    header: dict[str, Any]
    tensors: dict[str, Tensor] = field(repr=False)
    path: Path
    fingerprint: str

    def has(self, part: str) -> bool:
        """Whether the file has this part."""
        return part in self.header

    def require(self, part: str) -> dict[str, Any]:
        """The header of a part. Raises CheckpointError naming the file and the part it lacks."""
        if not self.has(part):
            present = ", ".join(name for name in PARTS if self.has(name)) or "nothing"
            raise CheckpointError(
                f"{self.path.name} has no {part} part (it has: {present}), which this needs: "
                f"choose a preference checkpoint with {part}."
            )
        return self.header[part]

    def part(self, part: str) -> dict[str, Tensor]:
        """A part's tensors, without the part's name in front. Raises CheckpointError where it has none."""
        self.require(part)
        prefix = f"{part}."
        return {name.removeprefix(prefix): t for name, t in self.tensors.items() if name.startswith(prefix)}


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read and check a preference checkpoint. Raises CheckpointError; see `read_safefile`, and for a file whose content
    is not what its fingerprint was taken of, or whose parts are not those its header lists."""
    file = read_safefile(path, KIND)
    if odd := [name for name in (*PARTS, "training") if not isinstance(file.header.get(name, {}), dict)]:
        raise CheckpointError(
            f"{file.path.name} has a damaged PrefGen header ({odd[0]} is {file.header[odd[0]]!r:.40}), expected values "
            "by name: get the file again."
        )
    found = {name.split(".", 1)[0] for name in file.tensors}
    listed = {part for part in PARTS if part in file.header}
    if found != listed:
        raise CheckpointError(
            f"{file.path.name} lists the parts {sorted(listed)} and holds tensors of {sorted(found)}, "
            "expected the same: the file is damaged, get it again."
        )
    actual = fingerprint(file.header, file.tensors)
    if actual != file.header.get("fingerprint"):
        raise CheckpointError(
            f"{file.path.name} does not match its own fingerprint: the file is damaged or was edited, get it again."
        )
    return Checkpoint(file.header, file.tensors, file.path, actual)


def write_part(
    path: str | Path, part: str, config: Mapping[str, Any], tensors: Mapping[str, Tensor], **about: Any
) -> Checkpoint:
    """Put one part into a checkpoint, which is made where there is none; other parts stay as they are.

    config: the part's header. tensors: without the part's name in front. about: further header values, such as
    `licence`, or `training={...}`, which is merged by key.
    """
    if part not in PARTS:
        raise CheckpointError(f"A preference checkpoint has no part {part!r}; the parts are {', '.join(PARTS)}.")
    path = Path(path)
    before = read_checkpoint(path) if path.exists() else Checkpoint({}, {}, path, "")
    training = {**before.header.get("training", {}), **about.pop("training", {})}
    header = {**before.header, **about, part: dict(config), "training": training}
    kept = {name: tensor for name, tensor in before.tensors.items() if not name.startswith(f"{part}.")}
    merged = kept | {f"{part}.{name}": tensor for name, tensor in tensors.items()}
    header["fingerprint"] = fingerprint(header, merged)
    write_safefile(path, KIND, {k: v for k, v in header.items() if k not in ("kind", "format")}, merged)
    return read_checkpoint(path)


def is_checkpoint(path: Path) -> bool:
    """Whether a file's header says it is a preference checkpoint; reads the header only."""
    try:
        read_header(path, KIND)
    except CheckpointError:
        return False
    return True
