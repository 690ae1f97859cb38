"""A user embedding on disk: a small .safetensors of ours. It holds no image and no prompt of the person."""

from __future__ import annotations

from pathlib import Path

import torch

from ..errors import CheckpointError, EmbeddingError
from ..safefile import fingerprint, read_safefile, write_safefile
from .user import PARTS, UserEmbedding

KIND = "user embedding"
DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
"""Of a part in a file: what we write, and what holds the same numbers nearly as well."""


def save_embedding(path: str | Path, embedding: UserEmbedding) -> Path:
    """Write an embedding; a file that is there is replaced, and kept where writing fails. Returns the path.
    Raises EmbeddingError where no part is there."""
    if not embedding.vectors:
        raise EmbeddingError(f"There is nothing to keep of {embedding.name!r}, who has liked no image yet: like one.")
    header = {"user": embedding.name, "reading": embedding.fingerprint, "made_by": embedding.made_by}
    tensors = embedding.vectors
    header["fingerprint"] = fingerprint(header, tensors)
    write_safefile(path, KIND, header, tensors)
    return Path(path)


def load_embedding(path: str | Path) -> UserEmbedding:
    """Read an embedding back, float32 on the CPU.

    Raises EmbeddingError: the file is missing, cut short, no safetensors, not ours, something else of ours, of a newer
    format, not what its fingerprint was taken of, or holds a part that is unknown, of another type than floats of 16
    bits and more, or no vector that a UserEmbedding takes.
    """
    try:
        file = read_safefile(path, KIND)
    except CheckpointError as error:
        raise EmbeddingError(str(error)) from error
    unknown = sorted(set(file.tensors) - set(PARTS))
    if unknown or not file.tensors:
        raise EmbeddingError(
            f"{file.path.name} holds {', '.join(unknown) or 'nothing'}, expected parts of a user embedding "
            f"({', '.join(PARTS)}): save the embedding again."
        )
    if fingerprint(file.header, file.tensors) != file.header.get("fingerprint"):
        raise EmbeddingError(
            f"{file.path.name} does not match its own fingerprint: the file is damaged or was edited, save it again."
        )
    odd = next((part for part, tensor in file.tensors.items() if tensor.dtype not in DTYPES), None)
    if odd is not None:
        found, expected = (str(dtype).removeprefix("torch.") for dtype in (file.tensors[odd].dtype, DTYPES[0]))
        raise EmbeddingError(
            f"{file.path.name} has its {odd} part as {found}, expected {expected}: save the embedding again."
        )
    parts = {part: file.tensors[part].float() if part in file.tensors else None for part in PARTS}
    about = {name: str(file.header.get(name, "")) for name in ("reading", "user", "made_by")}
    return UserEmbedding(**parts, fingerprint=about["reading"], name=about["user"], made_by=about["made_by"])
