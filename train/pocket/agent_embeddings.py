"""Computes embeddings of simulated users (agents), and caches them in a file."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from tqdm import trange

from prefgen.adapter import UserParts
from prefgen.checkpoint.preference_model import PreferenceModel, load_preference_model
from prefgen.embedding import encode_user
from prefgen.history import PreferencePair, UserHistory
from prefgen.pocket.shapes import weights_path
from train.data.agents import World, draw_pairs
from train.data.posters import Attributes, subject_prompt
from train.pocket.poster_batches import draw_all

PAIRS = 8


@dataclass(frozen=True)
class AgentEmbeddings:
    """Utilities of N agents, (N, 24), and the parts of their embeddings, each (N, D) with its own D."""

    utilities: np.ndarray
    parts: UserParts

    def __len__(self) -> int:
        return len(self.utilities)

    def users(self, rows: Tensor) -> UserParts:
        """Return the embeddings of the agents in the given rows."""
        return UserParts(*(part[rows] for part in self.parts))


def draw_history(pairs: np.ndarray, rng: np.random.Generator, name: str) -> UserHistory:
    """Draw the posters of an agent's history from attribute indices (n, 2, 6), with liked posters first."""
    images = draw_all(pairs.reshape(-1, 6), rng).unflatten(0, (len(pairs), 2))
    prompts = [subject_prompt(Attributes.from_indices(pair[0])) for pair in pairs]
    return UserHistory(tuple(PreferencePair(*two, p) for two, p in zip(images, prompts, strict=True)), name)


def encode_agents(model: PreferenceModel, world: World, count: int, seed: int) -> AgentEmbeddings:
    """Sample agents with histories, and encode them."""
    rng = np.random.default_rng(seed)
    utilities, _ = world.sample(count, rng)
    pairs, rows = draw_pairs(world, utilities, PAIRS, rng), []
    with torch.inference_mode():
        for i in trange(count, desc="encoding agents", mininterval=10):
            embedding = encode_user(model, draw_history(pairs[i], rng, f"agent {i}"))
            rows.append((embedding.sem, embedding.core, embedding.img))
    return AgentEmbeddings(utilities, UserParts(*(torch.stack(column) for column in zip(*rows, strict=True))))


def load_agent_embeddings(folder: Path, count: int, seed: int) -> AgentEmbeddings:
    """Load agents' embeddings from the cache in `folder`, or compute them with the shipped preference model."""
    model = load_preference_model("pocket")
    # The cache key covers only the encoder, because other parts of the checkpoint do not affect the embeddings.
    digest = hashlib.sha256(f"{model.encoder_fingerprint} {model.spec.revision}".encode())
    digest.update(weights_path("clip_vision").read_bytes())
    path = folder / f"agents-{digest.hexdigest()[:12]}-{seed}-{count}.safetensors"
    if not path.exists():
        table = encode_agents(model, World.load(), count, seed)
        save_file({"utilities": torch.from_numpy(table.utilities), **table.parts._asdict()}, path)
    state = load_file(path)
    return AgentEmbeddings(state["utilities"].numpy(), UserParts(*(state[n].clone() for n in UserParts._fields)))
