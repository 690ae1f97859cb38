"""Users as the alignment's training has them: a part of each one's embedding, and their text in CLIP text space."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from prefgen.errors import EmbeddingError
from prefgen.safefile import read_safefile, write_safefile

KIND = "table of users"
FEWEST = 8


@dataclass(frozen=True)
class UserTable:
    """N users. sem (N, D), core (N, D_core); texts (N, D_text): the CLIP text embedding of what each likes.

    likes (N, A): for each of A attributes, the number of the value each user likes best; (N, 0) where nobody knows.
    """

    sem: Tensor
    core: Tensor
    texts: Tensor
    likes: Tensor

    def __post_init__(self) -> None:
        lengths = {len(part) for part in (self.sem, self.core, self.texts, self.likes)}
        if len(lengths) > 1 or min(lengths) < FEWEST:
            raise EmbeddingError(
                f"The table has columns of {sorted(lengths)} users, expected one length of {FEWEST} at least: "
                "make the table anew, from more users."
            )
        for name in ("sem", "core", "texts"):
            if not torch.isfinite(getattr(self, name)).all():
                raise EmbeddingError(f"The table's {name} holds NaN or infinity: encode the users anew.")

    def __len__(self) -> int:
        return len(self.sem)

    def to(self, device: torch.device | str) -> UserTable:
        """The same on another device."""
        return UserTable(*(part.to(device) for part in (self.sem, self.core, self.texts, self.likes)))

    def save(self, path: Path) -> None:
        """Write the table, so that trainings of several objectives encode its users once."""
        write_safefile(path, KIND, {}, vars(self))

    @classmethod
    def load(cls, path: Path) -> UserTable:
        """Read what `save` wrote. Raises CheckpointError for a file that is no such table."""
        return cls(**read_safefile(path, KIND).tensors)
