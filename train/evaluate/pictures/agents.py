"""Agents (simulated users) with their histories, embeddings, prompts and seeds for generated pictures."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor
from tqdm import trange

from prefgen.adapter import UserParts
from prefgen.checkpoint.preference_model import PreferenceModel
from prefgen.embedding import encode_user
from prefgen.history import PreferencePair, UserHistory
from prefgen.prefdisc.prefix import HistoryPrefix
from train.data.agents import World, by_attribute, utility_of
from train.data.posters import ATTRIBUTES
from train.evaluate.choice_trials import Gallery, draw_trials
from train.pocket.align import favourites
from train.pocket.people import HELD_OUT_SUBJECTS

WORDINGS = ("{}", "a poster of {}", "a picture of {}")
PROMPTS, SEEDS = 2, 2
"""Prompts of each agent and seeds of each prompt (our choice): four pictures in every row."""
CHOICE_SET_SIZE = 16
"""Posters from which an agent chooses a liked poster (our choice)."""
_SUBJECTS = tuple(ATTRIBUTES["subject"])


@dataclass(frozen=True)
class Agents:
    """n agents with p prompts and s seeds each: m = p * s pictures, with the seeds of a prompt side by side.

    Attributes:
        utilities: (n, 24).
        groups: Simulator groups, (n,).
        histories: Eight pairs each.
        users: User embeddings; each part is (n, D).
        prefixes: PrefDisc's encoded histories.
        prompts: m prompts for each agent.
        subjects: Index of the prompted subject, (n, m).
        seeds: A different noise seed for every picture, (n, m).
        liked_posters: Rendered posters of the prompted subjects that the agent likes, uint8, (n, m, 3, 96, 96).
        poster_attributes: Attributes of `liked_posters`, (n, m, 6).
    """

    utilities: np.ndarray
    groups: np.ndarray
    histories: tuple[UserHistory, ...]
    users: UserParts
    prefixes: tuple[HistoryPrefix, ...]
    prompts: tuple[tuple[str, ...], ...]
    subjects: np.ndarray
    seeds: np.ndarray
    liked_posters: Tensor
    poster_attributes: np.ndarray

    def __len__(self) -> int:
        return len(self.utilities)

    def select(self, rows: Sequence[int]) -> Agents:
        """Select agents by index."""
        selected = {}
        for name, value in ((field.name, getattr(self, field.name)) for field in fields(self)):
            if isinstance(value, UserParts):
                selected[name] = UserParts(*(part[list(rows)] for part in value))
            else:
                selected[name] = tuple(value[i] for i in rows) if isinstance(value, tuple) else value[list(rows)]
        return Agents(**selected)

    @classmethod
    def concatenate(cls, parts: Sequence[Agents]) -> Agents:
        """Concatenate the agents of several seeds."""
        merged = {}
        for name in (field.name for field in fields(cls)):
            values = [getattr(part, name) for part in parts]
            if isinstance(values[0], UserParts):
                merged[name] = UserParts(*(torch.cat(column) for column in zip(*values, strict=True)))
            elif isinstance(values[0], Tensor):
                merged[name] = torch.cat(values)
            else:
                merged[name] = sum(values, ()) if isinstance(values[0], tuple) else np.concatenate(values)
        return cls(**merged)

    @property
    def liked_images(self) -> Tensor:
        """Return the liked images of the histories: (n, 8, 3, 96, 96) in [0, 1]."""
        return torch.stack([torch.stack([pair.liked for pair in history.pairs]) for history in self.histories])

    @property
    def digest(self) -> str:
        """Return a hash of the agents, prompts and seeds, which is part of the cache key of generated pictures."""
        agents = [history.digest for history in self.histories], self.utilities.tolist(), self.groups.tolist()
        content = [agents, self.prompts, self.seeds.tolist()]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    def prompts_with_favourites(self) -> tuple[tuple[str, ...], ...]:
        """Append the agent's favourite value of every taste attribute to the prompts, worded as in captions."""
        best = np.stack([part.argmax(1) for part in by_attribute(self.utilities).values()], axis=1)
        return tuple(
            tuple(f"{prompt} {favourites(row)}" for prompt in prompts)
            for prompts, row in zip(self.prompts, best.tolist(), strict=True)
        )

    def other_agents(self) -> np.ndarray:
        """Assign a different agent to each agent, (n,): a permutation, with another group where possible.

        Agents are sorted by group and shifted by the size of the largest group.
        """
        order = np.argsort(self.groups, kind="stable")
        shift = min(int(np.bincount(self.groups).max()), len(self) - 1)
        assigned = np.empty(len(self), dtype=int)
        assigned[order] = np.roll(order, -shift)
        return assigned


def draw_agents(
    model: PreferenceModel,
    world: World,
    gallery: Gallery,
    utilities: np.ndarray,
    groups: np.ndarray,
    rng: np.random.Generator,
    prompt_subjects: Sequence[str] = HELD_OUT_SUBJECTS,
    first_seed: int = 0,
) -> Agents:
    """Draw histories for agents, encode them, and assign prompts and seeds.

    Args:
        model: Preference model that encodes the histories.
        world: The simulator.
        gallery: Posters for histories and for `Agents.liked_posters`.
        utilities: (n, 24).
        groups: Simulator groups, (n,).
        rng: Random generator.
        prompt_subjects: Subjects of the prompts. They occur in no history, and in no training of the adapter.
        first_seed: Seed of the first picture; the next pictures have the next seeds.
    """
    history_subjects = [i for i, name in enumerate(_SUBJECTS) if name not in prompt_subjects]
    trials = draw_trials(world, gallery, utilities, 1, rng, subjects=history_subjects)
    histories = tuple(_history(gallery, rows, f"agent {i}") for i, rows in enumerate(trials.history))
    embeddings, prefixes = [], []
    with torch.inference_mode():
        for i in trange(len(histories), desc="encoding histories", unit="agents", mininterval=2):
            embeddings.append(encode_user(model, histories[i]))
            prefixes.append(model.encode_history(histories[i]))  # cached by the line above
    # The subject varies fastest, so that the prompts of one agent have two subjects.
    combinations = [(name, wording) for wording in WORDINGS for name in prompt_subjects]
    chosen = [
        [combinations[(PROMPTS * i + k) % len(combinations)] for k in range(PROMPTS)] for i in range(len(utilities))
    ]
    prompts = tuple(
        tuple(wording.format(ATTRIBUTES["subject"][name]) for name, wording in agent_prompts for _ in range(SEEDS))
        for agent_prompts in chosen
    )
    subjects = np.array(
        [[_SUBJECTS.index(name) for name, _ in agent_prompts for _ in range(SEEDS)] for agent_prompts in chosen]
    )
    posters = choose_liked_posters(world, gallery, utilities, subjects, rng)
    users = {part: torch.stack([getattr(e, part) for e in embeddings]) for part in UserParts._fields}
    return Agents(
        utilities,
        groups,
        histories,
        UserParts(**users),
        tuple(prefixes),
        prompts,
        subjects,
        first_seed + np.arange(subjects.size).reshape(subjects.shape),
        gallery.images[posters],
        gallery.attributes[posters],
    )


def choose_liked_posters(
    world: World, gallery: Gallery, utilities: np.ndarray, subjects: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Simulate each agent's choice among `CHOICE_SET_SIZE` posters of each subject (Plackett-Luce).

    Subjects are (n, m); returns gallery indices (n, m).
    """
    candidates = subjects[..., None] * gallery.per_subject + rng.integers(
        gallery.per_subject, size=(*subjects.shape, CHOICE_SET_SIZE)
    )
    u = utility_of(utilities[:, None, None], gallery.attributes[candidates])
    best = (u / world.temperature + rng.gumbel(size=u.shape)).argmax(-1)
    return np.take_along_axis(candidates, best[..., None], axis=-1)[..., 0]


def _history(gallery: Gallery, rows: np.ndarray, name: str) -> UserHistory:
    prompts = gallery.prompts(rows[:, 0]).tolist()
    images = gallery.images[rows].float() / 255
    return UserHistory(tuple(PreferencePair(*two, p) for two, p in zip(images, prompts, strict=True)), name)
