"""Table of users for the alignment training: embedding parts and CLIP text embeddings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from prefgen.errors import EmbeddingError
from prefgen.safefile import read_safefile, write_safefile

KIND = "table of users"
MIN_USERS = 8


@dataclass(frozen=True)
class UserTable:
    """Embeddings and texts of N users.

    Attributes:
        sem: The `sem` part of the embeddings, (N, D).
        core: The `core` part of the embeddings, (N, D_core).
        texts: CLIP text embedding of what each user likes, (N, D_text).
        likes: Index of each user's favourite value of A attributes, (N, A). (N, 0) if attributes are unknown.
    """

    sem: Tensor
    core: Tensor
    texts: Tensor
    likes: Tensor

    def __post_init__(self) -> None:
        lengths = {len(part) for part in (self.sem, self.core, self.texts, self.likes)}
        if len(lengths) > 1 or min(lengths) < MIN_USERS:
            raise EmbeddingError(
                f"The columns of the user table have {sorted(lengths)} rows; expected the same number for all, "
                f"at least {MIN_USERS}. Use more users."
            )
        for name in ("sem", "core", "texts"):
            if not torch.isfinite(getattr(self, name)).all():
                raise EmbeddingError(f"{name} of the user table contains NaN or infinity. Encode the users again.")

    def __len__(self) -> int:
        return len(self.sem)

    def to(self, device: torch.device | str) -> UserTable:
        """Return a copy on a device."""
        return UserTable(*(part.to(device) for part in (self.sem, self.core, self.texts, self.likes)))

    def save(self, path: Path) -> None:
        """Write the table to a file, so that several training runs can share it."""
        write_safefile(path, KIND, {}, vars(self))

    @classmethod
    def load(cls, path: Path) -> UserTable:
        """Read a table written by `save`.

        Raises:
            CheckpointError: The file is not a user table.
        """
        return cls(**read_safefile(path, KIND).tensors)
