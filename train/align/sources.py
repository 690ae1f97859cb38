"""A table of users from a set on disk (see train.prefdisc.dataset), for any base model."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from prefgen.checkpoint.preference_model import PreferenceModel
from prefgen.embedding import extract
from prefgen.errors import CheckpointError, HistoryError
from prefgen.history import PreferencePair, UserHistory
from prefgen.images import read_image
from train.align.table import UserTable
from train.prefdisc.dataset import UserPairs, read_users

PAIRS = 8  # method.md section 1: N_ref
AT_ONCE = 64
AGENTS = "agents.json"
EncodeTexts = Callable[[list[str]], Tensor]
"""Texts -> their pooled CLIP text embeddings (n, D_text)."""


def user_table(model: PreferenceModel, folder: Path, encode: EncodeTexts, split: str = "train") -> UserTable:
    """Every user of a split: `sem` and `core` after their first eight pairs, and the mean embedding of their texts.

    Raises HistoryError for a set that cannot be read, and for a user of whom no text is known.
    """
    known, rows = liked_attributes(folder), []
    for user in tqdm(read_users(folder, split), desc="encoding users", mininterval=10):
        embedding = extract(model, history_of(user))
        rows.append((embedding.sem, embedding.core, encode(texts_of(user, known)).float().mean(0).cpu()))
    sem, core, texts = (torch.stack(column) for column in zip(*rows, strict=True))
    return UserTable(sem, core, texts, torch.zeros(len(sem), 0, dtype=torch.long))


def history_of(user: UserPairs) -> UserHistory:
    """A user's first eight pairs, their images read."""
    pairs = [PreferencePair(read_image(p.liked), read_image(p.disliked), p.prompt) for p in user.pairs[:PAIRS]]
    return UserHistory(tuple(pairs), user.user)


def liked_attributes(folder: Path) -> dict[str, list[str]]:
    """What each agent of a set likes, in words; empty where the set is not of agents."""
    file = Path(folder) / AGENTS
    if not file.is_file():
        return {}
    try:
        return {agent["user"]: list(agent["liked"]) for agent in json.loads(file.read_text())["agents"]}
    except (ValueError, KeyError, TypeError) as error:
        raise HistoryError(f"{file} does not describe agents ({error!r}): make the set anew.") from error


def texts_of(user: UserPairs, known: dict[str, list[str]]) -> list[str]:
    """A user's texts: the attributes they like, where these are known, else the prompts of what they liked."""
    texts = known.get(user.user) or list(dict.fromkeys(pair.prompt for pair in user.pairs if pair.prompt))
    if not texts:
        raise HistoryError(f"Of user {user.user!r} no attribute and no prompt is known, expected one at least.")
    return texts


def clip_texts(folder: Path, device: torch.device | str = "cpu") -> EncodeTexts:
    """SDXL's pooled bigG from a local folder in diffusers' layout (`text_encoder_2`, `tokenizer_2`).

    Raises CheckpointError where they are not there: nothing is downloaded.
    """
    from transformers import CLIPTextModelWithProjection, CLIPTokenizer

    try:
        tower = CLIPTextModelWithProjection.from_pretrained(folder / "text_encoder_2", local_files_only=True)
        tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer_2", local_files_only=True)
    except (OSError, ValueError, TypeError) as error:
        raise CheckpointError(
            f"{folder} holds no text_encoder_2 and tokenizer_2 that can be read ({' '.join(str(error).split()[:20])}): "
            "name a folder of SDXL in diffusers' layout."
        ) from error
    tower = tower.requires_grad_(False).eval().to(device)

    def encode(texts: Sequence[str]) -> Tensor:
        ids = tokenizer(
            list(texts), padding="max_length", truncation=True, max_length=77, return_tensors="pt"
        ).input_ids
        with torch.no_grad():
            return torch.cat([tower(part.to(device)).text_embeds for part in ids.split(AT_ONCE)])

    return encode
