"""Builds the user table of a dataset on disk (see `train.prefdisc.dataset`), for any base model."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from prefgen.checkpoint.preference_model import PreferenceModel
from prefgen.embedding import encode_user
from prefgen.errors import CheckpointError, HistoryError
from prefgen.history import PreferencePair, UserHistory
from prefgen.images import read_image
from train.align.user_table import UserTable
from train.prefdisc.dataset import UserPairs, read_users

PAIRS = 8  # paper index section 1: N_ref
BATCH_SIZE = 64
AGENTS = "agents.json"
EncodeTexts = Callable[[list[str]], Tensor]
"""Function from n texts to their pooled CLIP text embeddings, (n, D_text)."""


def build_user_table(model: PreferenceModel, folder: Path, encode: EncodeTexts, split: str = "train") -> UserTable:
    """Encode each user of a split: `sem` and `core` after the first eight pairs, and the mean text embedding.

    Args:
        model: Preference model that encodes the histories.
        folder: The dataset.
        encode: Text encoder.
        split: Split of the dataset.

    Raises:
        HistoryError: The dataset cannot be read, or a user has no texts.
    """
    attributes, rows = liked_attributes(folder), []
    for user in tqdm(read_users(folder, split), desc="encoding users", mininterval=10):
        embedding = encode_user(model, read_history(user))
        rows.append((embedding.sem, embedding.core, encode(user_texts(user, attributes)).float().mean(0).cpu()))
    sem, core, texts = (torch.stack(column) for column in zip(*rows, strict=True))
    return UserTable(sem, core, texts, torch.zeros(len(sem), 0, dtype=torch.long))


def read_history(user: UserPairs) -> UserHistory:
    """Read the images of a user's first eight pairs."""
    pairs = [PreferencePair(read_image(p.liked), read_image(p.disliked), p.prompt) for p in user.pairs[:PAIRS]]
    return UserHistory(tuple(pairs), user.user)


def liked_attributes(folder: Path) -> dict[str, list[str]]:
    """Return the liked attributes of each agent as texts, or {} for datasets of real users."""
    file = Path(folder) / AGENTS
    if not file.is_file():
        return {}
    try:
        return {agent["user"]: list(agent["liked"]) for agent in json.loads(file.read_text())["agents"]}
    except (ValueError, KeyError, TypeError) as error:
        raise HistoryError(f"{file} is not a list of agents ({error!r}). Create the dataset again.") from error


def user_texts(user: UserPairs, attributes: dict[str, list[str]]) -> list[str]:
    """Return the texts of a user: the liked attributes if they are known, otherwise the prompts of the pairs.

    Raises:
        HistoryError: The user has neither attributes nor prompts.
    """
    texts = attributes.get(user.user) or list(dict.fromkeys(pair.prompt for pair in user.pairs if pair.prompt))
    if not texts:
        raise HistoryError(
            f"User {user.user!r} has no attributes and no prompts; expected at least one attribute or prompt."
        )
    return texts


def load_clip_text_encoder(folder: Path, device: torch.device | str = "cpu") -> EncodeTexts:
    """Load SDXL's CLIP-G text encoder from a local folder in diffusers' layout. Nothing is downloaded.

    Returns:
        A function from texts to pooled embeddings.

    Raises:
        CheckpointError: The subfolders `text_encoder_2` and `tokenizer_2` cannot be read.
    """
    from transformers import CLIPTextModelWithProjection, CLIPTokenizer

    try:
        tower = CLIPTextModelWithProjection.from_pretrained(folder / "text_encoder_2", local_files_only=True)
        tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer_2", local_files_only=True)
    except (OSError, ValueError, TypeError) as error:
        raise CheckpointError(
            f"text_encoder_2 and tokenizer_2 cannot be read from {folder} ({' '.join(str(error).split()[:20])}). Pass "
            "an SDXL folder in diffusers' layout."
        ) from error
    tower = tower.requires_grad_(False).eval().to(device)

    def encode(texts: Sequence[str]) -> Tensor:
        ids = tokenizer(
            list(texts), padding="max_length", truncation=True, max_length=77, return_tensors="pt"
        ).input_ids
        with torch.no_grad():
            return torch.cat([tower(batch.to(device)).text_embeds for batch in ids.split(BATCH_SIZE)])

    return encode
