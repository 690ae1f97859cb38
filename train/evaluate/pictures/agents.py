"""Unseen agents, what is known of each, and what the generator is asked to paint for them."""

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
from prefgen.embedding import extract
from prefgen.history import PreferencePair, UserHistory
from prefgen.prefdisc.prefix import HistoryPrefix
from train.data.agents import World, by_attribute, utility_of
from train.data.posters import ATTRIBUTES
from train.evaluate.trials import Gallery, draw_trials
from train.pocket.align import favourites
from train.pocket.people import HELD_BACK

WORDINGS = ("{}", "a poster of {}", "a picture of {}")
PROMPTS, SEEDS = 2, 2
"""Of each agent (default ours): four pictures in every row."""
SHOWN = 16
"""Drawn posters that an agent chooses among, for the one that stands for what they like (default ours)."""
_SUBJECTS = tuple(ATTRIBUTES["subject"])


@dataclass(frozen=True)
class Agents:
    """n agents, each asked for p prompts at s seeds; m = p s pictures, the seeds of a prompt side by side.

    utilities (n, 24). groups (n,): the simulator's. histories: eight pairs each. users: their embeddings, (n, D) a
    part. prefixes: what PrefDisc keeps of each history. prompts: n lists of m. subjects (n, m): the index of what each
    prompt names. seeds (n, m): each painted from once. posters (n, m, 3, 96, 96) uint8: drawn ones of those subjects
    that the agent likes. known (n, m, 6): the posters' attributes.
    """

    utilities: np.ndarray
    groups: np.ndarray
    histories: tuple[UserHistory, ...]
    users: UserParts
    prefixes: tuple[HistoryPrefix, ...]
    prompts: tuple[tuple[str, ...], ...]
    subjects: np.ndarray
    seeds: np.ndarray
    posters: Tensor
    known: np.ndarray

    def __len__(self) -> int:
        return len(self.utilities)

    def some(self, rows: Sequence[int]) -> Agents:
        """A few of them."""
        taken = {}
        for name, value in ((field.name, getattr(self, field.name)) for field in fields(self)):
            if isinstance(value, UserParts):
                taken[name] = UserParts(*(part[list(rows)] for part in value))
            else:
                taken[name] = tuple(value[i] for i in rows) if isinstance(value, tuple) else value[list(rows)]
        return Agents(**taken)

    @classmethod
    def joined(cls, parts: Sequence[Agents]) -> Agents:
        """Those of several seeds, one after the other."""
        made = {}
        for name in (field.name for field in fields(cls)):
            values = [getattr(part, name) for part in parts]
            if isinstance(values[0], UserParts):
                made[name] = UserParts(*(torch.cat(column) for column in zip(*values, strict=True)))
            elif isinstance(values[0], Tensor):
                made[name] = torch.cat(values)
            else:
                made[name] = sum(values, ()) if isinstance(values[0], tuple) else np.concatenate(values)
        return cls(**made)

    @property
    def liked(self) -> Tensor:
        """The liked images of the histories: (n, 8, 3, 96, 96) in [0, 1]."""
        return torch.stack([torch.stack([pair.liked for pair in history.pairs]) for history in self.histories])

    @property
    def digest(self) -> str:
        """A fingerprint of who they are and what they are asked: what was painted for them is kept under it."""
        known = [history.digest for history in self.histories], self.utilities.tolist(), self.groups.tolist()
        told = [known, self.prompts, self.seeds.tolist()]
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()

    def written_out(self) -> tuple[tuple[str, ...], ...]:
        """The prompts with the agent's true favourite of every taste attribute behind them, as captions name it."""
        best = np.stack([part.argmax(1) for part in by_attribute(self.utilities).values()], axis=1)
        return tuple(
            tuple(f"{prompt} {favourites(row)}" for prompt in own)
            for own, row in zip(self.prompts, best.tolist(), strict=True)
        )

    def others(self) -> np.ndarray:
        """Another agent for each, of another group where there are enough groups; everybody is somebody's other. (n,)

        Sorted by group and shifted by the largest group: nobody meets their own.
        """
        order = np.argsort(self.groups, kind="stable")
        shift = min(int(np.bincount(self.groups).max()), len(self) - 1)
        found = np.empty(len(self), dtype=int)
        found[order] = np.roll(order, -shift)
        return found


def draw_agents(
    model: PreferenceModel,
    world: World,
    gallery: Gallery,
    utilities: np.ndarray,
    groups: np.ndarray,
    rng: np.random.Generator,
    asked: Sequence[str] = HELD_BACK,
    first_seed: int = 0,
) -> Agents:
    """Draw histories for agents of these utilities (n, 24), encode them, and say what is asked.

    asked: the subjects of the prompts, which are in no history, as they are in no training of the adapter. Prompts and
    seeds go round: every picture has a seed of its own, from `first_seed` on.
    """
    free = [i for i, name in enumerate(_SUBJECTS) if name not in asked]
    trials = draw_trials(world, gallery, utilities, 1, rng, subjects=free)
    histories = tuple(_history(gallery, rows, f"agent {i}") for i, rows in enumerate(trials.history))
    embeddings, prefixes = [], []
    with torch.inference_mode():
        for i in trange(len(histories), desc="reading histories", unit="agents", mininterval=2):
            embeddings.append(extract(model, histories[i]))
            prefixes.append(model.read(histories[i]))  # read just now, and kept
    # Subjects change fastest, so that the prompts of one agent name two things.
    every = [(name, wording) for wording in WORDINGS for name in asked]
    chosen = [[every[(PROMPTS * i + k) % len(every)] for k in range(PROMPTS)] for i in range(len(utilities))]
    prompts = tuple(
        tuple(wording.format(ATTRIBUTES["subject"][name]) for name, wording in own for _ in range(SEEDS))
        for own in chosen
    )
    subjects = np.array([[_SUBJECTS.index(name) for name, _ in own for _ in range(SEEDS)] for own in chosen])
    posters = liked_posters(world, gallery, utilities, subjects, rng)
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


def liked_posters(
    world: World, gallery: Gallery, utilities: np.ndarray, subjects: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """For each subject (n, m), the poster of it that the agent chooses among `SHOWN` (Plackett-Luce): rows of the
    gallery (n, m)."""
    shown = subjects[..., None] * gallery.each + rng.integers(gallery.each, size=(*subjects.shape, SHOWN))
    u = utility_of(utilities[:, None, None], gallery.attributes[shown])
    best = (u / world.temperature + rng.gumbel(size=u.shape)).argmax(-1)
    return np.take_along_axis(shown, best[..., None], axis=-1)[..., 0]


def _history(gallery: Gallery, rows: np.ndarray, name: str) -> UserHistory:
    prompts = gallery.prompts(rows[:, 0]).tolist()
    images = gallery.images[rows].float() / 255
    return UserHistory(tuple(PreferencePair(*two, p) for two, p in zip(images, prompts, strict=True)), name)
