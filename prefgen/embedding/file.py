"""Saves and loads user embeddings as small .safetensors files, which contain no image and no prompt of the user."""

from __future__ import annotations

from pathlib import Path

import torch

from ..errors import CheckpointError, EmbeddingError
from ..safefile import fingerprint, read_safefile, write_safefile
from ..validation import require
from .user import PARTS, UserEmbedding

KIND = "user embedding"
DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
"""Accepted dtypes of a part in a file. We write float32."""


def save_embedding(path: str | Path, embedding: UserEmbedding) -> Path:
    """Save an embedding, and return the path. An existing file is replaced, unless writing fails.

    Raises:
        EmbeddingError: The embedding has no part.
    """
    require(embedding.vectors, EmbeddingError, f"The embedding of {embedding.name!r} is empty. Like an image first.")
    header = {"user": embedding.name, "reading": embedding.fingerprint, "made_by": embedding.made_by}
    header["fingerprint"] = fingerprint(header, embedding.vectors)
    write_safefile(path, KIND, header, embedding.vectors)
    return Path(path)


def load_embedding(path: str | Path) -> UserEmbedding:
    """Load an embedding, in float32 on the CPU.

    Raises:
        EmbeddingError: The file cannot be read, is not a user embedding of ours, does not match its fingerprint, or has
            parts of another name, dtype or value than `UserEmbedding` accepts.
    """
    try:
        file = read_safefile(path, KIND)
    except CheckpointError as error:
        raise EmbeddingError(str(error)) from error
    if not file.tensors or not set(file.tensors) <= set(PARTS):
        raise EmbeddingError(f"{file.path.name} has parts {sorted(file.tensors)}; expected some of {', '.join(PARTS)}.")
    if fingerprint(file.header, file.tensors) != file.header.get("fingerprint"):
        raise EmbeddingError(f"{file.path.name} does not match its fingerprint; it is damaged. Save it again.")
    wrong = [f"{part} as {tensor.dtype}" for part, tensor in file.tensors.items() if tensor.dtype not in DTYPES]
    if wrong:
        raise EmbeddingError(f"{file.path.name} has {wrong[0]}; expected {DTYPES[0]}. Save the embedding again.")
    header = file.header
    return UserEmbedding(
        **{part: file.tensors[part].float() if part in file.tensors else None for part in PARTS},
        fingerprint=str(header.get("reading", "")),
        name=str(header.get("user", "")),
        made_by=str(header.get("made_by", "")),
    )
