"""A set on disk for the adapter's training: users as their embeddings, and images that they like, to be painted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from prefgen.adapter import UserParts
from prefgen.checkpoint.preference_model import PreferenceModel
from prefgen.embedding import extract
from prefgen.errors import EmbeddingError, HistoryError
from prefgen.safefile import read_safefile, write_safefile
from train.adapter.config import AdapterTraining
from train.adapter.sdxl import SDXL
from train.align.sources import PAIRS, history_of
from train.diffusion import Painted
from train.loop import generator_of
from train.prefdisc.batches import read_square
from train.prefdisc.dataset import PairFiles, UserPairs, read_users

KIND = "user embeddings of a set"


@dataclass(frozen=True)
class EncodedUsers:
    """N users. parts: each (N, D of the part), or None where the checkpoint gives none. liked: for each user the pairs
    whose liked image is to be painted; none of them is in the history that the embedding was read from, or the image's
    own embedding would be given to whom is to paint it."""

    parts: UserParts
    liked: tuple[tuple[PairFiles, ...], ...]

    def users(self, rows: Sequence[int]) -> UserParts:
        """The embeddings of some users."""
        return UserParts(*(None if part is None else part[list(rows)] for part in self.parts))

    def dim(self, part: str) -> int:
        """Width of a part. Raises EmbeddingError where there is none."""
        found = getattr(self.parts, part)
        if found is None:
            raise EmbeddingError(
                f"The checkpoint gives no {part} part, and the settings want {part}_tokens: set {part}_tokens=0, or "
                "use a checkpoint with it."
            )
        return found.shape[1]


def encode_users(model: PreferenceModel, folder: Path, keep: Path, split: str = "train") -> EncodedUsers:
    """Every user of a split with more than eight pairs, read once: the embeddings are kept in a file.

    Raises HistoryError for a set that cannot be read or has no such user.
    """
    users = read_users(folder, split, at_least=PAIRS + 1)
    if not keep.exists():
        rows = [extract(model, history_of(user)) for user in tqdm(users, desc="encoding users", mininterval=10)]
        parts = {name: [getattr(row, name) for row in rows] for name in UserParts._fields}
        write_safefile(keep, KIND, {}, {n: torch.stack(p) for n, p in parts.items() if p[0] is not None})
    tensors = read_safefile(keep, KIND).tensors
    if any(len(part) != len(users) for part in tensors.values()):
        raise HistoryError(f"{keep} is of another set than {folder}: delete it, or name another --folder.")
    parts = UserParts(**{name: tensors.get(name) for name in UserParts._fields})
    return EncodedUsers(parts, tuple(user.pairs[PAIRS:] for user in users))


def check_captions(users: tuple[UserPairs, ...]) -> None:
    """Raises HistoryError where a liked image that is to be painted has no caption."""
    bare = [pair.liked.name for user in users for pair in user.pairs[PAIRS:] if not pair.caption]
    if bare:
        raise HistoryError(
            f"{len(bare)} liked images have no caption (such as {bare[0]}), and target is 'caption': give every pair "
            f'of users.jsonl from a user\'s {PAIRS + 1}th on a "caption" of all that its liked image shows, or set '
            "target=image."
        )


@dataclass(frozen=True)
class SetBatches:
    """Batches by their number (see fit.py): random users, each with one of the images they like."""

    encoded: EncodedUsers
    sdxl: SDXL
    config: AdapterTraining

    def __call__(self, number: int) -> tuple[UserParts, Painted]:
        config = self.config
        rng = np.random.default_rng([config.seed, number])
        rows = rng.integers(len(self.encoded.liked), size=config.batch)
        chosen = [self.encoded.liked[row][rng.integers(len(self.encoded.liked[row]))] for row in rows]
        images: Tensor = torch.stack([read_square(pair.liked, config.size) for pair in chosen])
        dropped = 0.0 if config.target == "caption" else config.no_caption
        captions = ["" if rng.random() < dropped else pair.prompt for pair in chosen]
        generator = generator_of(config.seed + 1, number)
        painted = self.sdxl.painted(images, captions, generator)
        if config.target == "caption":
            painted = replace(painted, fuller=self.sdxl.texts([pair.caption for pair in chosen]))
        return self.encoded.users(rows), painted
