"""Reads a dataset on disk for the adapter training: user embeddings, and images that each user likes."""

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
from prefgen.embedding import encode_user
from prefgen.errors import EmbeddingError, HistoryError
from prefgen.safefile import read_safefile, write_safefile
from train.adapter.config import AdapterTrainingConfig
from train.adapter.sdxl import SDXL
from train.align.dataset import PAIRS, read_history
from train.diffusion import DiffusionBatch
from train.loop import generator_of
from train.prefdisc.dataset import PairFiles, UserPairs, read_users
from train.prefdisc.images import read_resized_image

KIND = "user embeddings of a set"


@dataclass(frozen=True)
class EncodedUsers:
    """Embeddings of N users and their training images.

    Attributes:
        parts: Embedding parts, each (N, D) with its own D. None for parts that the checkpoint does not have.
        liked: For each user, the pairs whose liked images are training targets. The embeddings are computed from other
            pairs, because they would otherwise contain information about the targets.
    """

    parts: UserParts
    liked: tuple[tuple[PairFiles, ...], ...]

    def users(self, rows: Sequence[int]) -> UserParts:
        """Return the embeddings of the users in the given rows."""
        return UserParts(*(None if part is None else part[list(rows)] for part in self.parts))

    def dim(self, part: str) -> int:
        """Return the width of a part.

        Raises:
            EmbeddingError: The checkpoint does not have the part.
        """
        embeddings = getattr(self.parts, part)
        if embeddings is None:
            raise EmbeddingError(
                f"The checkpoint has no {part} part. Set {part}_tokens=0, or use a different checkpoint."
            )
        return embeddings.shape[1]


def encode_users(model: PreferenceModel, folder: Path, cache: Path, split: str = "train") -> EncodedUsers:
    """Encode the users of a split who have more than eight pairs.

    Args:
        model: Preference model that encodes the first eight pairs of each user.
        folder: The dataset.
        cache: Cache file of the embeddings.
        split: Split of the dataset.

    Raises:
        HistoryError: The dataset cannot be read or has no such user, or the cache was built for a different dataset.
    """
    users = read_users(folder, split, at_least=PAIRS + 1)
    if not cache.exists():
        rows = [encode_user(model, read_history(user)) for user in tqdm(users, desc="encoding users", mininterval=10)]
        parts = {name: [getattr(row, name) for row in rows] for name in UserParts._fields}
        write_safefile(cache, KIND, {}, {n: torch.stack(p) for n, p in parts.items() if p[0] is not None})
    tensors = read_safefile(cache, KIND).tensors
    if any(len(part) != len(users) for part in tensors.values()):
        raise HistoryError(
            f"{cache} was built for a different dataset, not {folder}. Delete it, or pass a different --folder."
        )
    parts = UserParts(**{name: tensors.get(name) for name in UserParts._fields})
    return EncodedUsers(parts, tuple(user.pairs[PAIRS:] for user in users))


def check_captions(users: tuple[UserPairs, ...]) -> None:
    """Check that every training target has a caption.

    Raises:
        HistoryError: A liked image that is a training target has no caption.
    """
    without = [pair.liked.name for user in users for pair in user.pairs[PAIRS:] if not pair.caption]
    if without:
        raise HistoryError(
            f"{len(without)} liked images have no caption (for example {without[0]}), but target is 'caption'. In "
            f'users.jsonl, add a "caption" to all pairs of each user except the first {PAIRS}, or set target=image.'
        )


@dataclass(frozen=True)
class SetBatches:
    """Training batches for `train_adapter`: random users, each with one liked image."""

    encoded: EncodedUsers
    sdxl: SDXL
    config: AdapterTrainingConfig

    def __call__(self, index: int) -> tuple[UserParts, DiffusionBatch]:
        """Return the batch with the given index."""
        config = self.config
        rng = np.random.default_rng([config.seed, index])
        rows = rng.integers(len(self.encoded.liked), size=config.batch)
        pairs = [self.encoded.liked[row][rng.integers(len(self.encoded.liked[row]))] for row in rows]
        images: Tensor = torch.stack([read_resized_image(pair.liked, config.size) for pair in pairs])
        dropout = 0.0 if config.target == "caption" else config.caption_dropout
        prompts = ["" if rng.random() < dropout else pair.prompt for pair in pairs]
        batch = self.sdxl.encode_batch(images, prompts, generator_of(config.seed + 1, index))
        if config.target == "caption":
            batch = replace(batch, teacher_captions=self.sdxl.encode_text([pair.caption for pair in pairs]))
        return self.encoded.users(rows), batch
