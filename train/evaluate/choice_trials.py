"""Choice trials: posters of held-out attribute combinations, users' histories, and their simulated choices."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from prefgen.prefdisc.model import PrefDisc
from train.data.agents import World, utility_of
from train.data.posters import ATTRIBUTES, combinations
from train.pocket.poster_batches import draw_all

PAIRS = 8
"""Pairs in a history (N_ref in paper index section 1)."""
RNG_STREAM = 20261121
"""First entry of every random seed of the evaluation. Trainings use other values, so no training sample recurs."""
_BATCH = 64


@dataclass(frozen=True)
class Gallery:
    """Posters, with the same number for every subject, sorted by subject.

    Attributes:
        attributes: Attribute indices, (N, 6).
        images: uint8, (N, 3, 96, 96).
    """

    attributes: np.ndarray
    images: Tensor

    @property
    def per_subject(self) -> int:
        """Return the number of posters of each subject."""
        return len(self.attributes) // len(ATTRIBUTES["subject"])

    def prompts(self, rows: np.ndarray) -> np.ndarray:
        """Return the prompts (subjects) of posters. `rows` has poster indices of any shape."""
        return np.array(list(ATTRIBUTES["subject"].values()))[self.attributes[rows, 0]]

    def batches(self, progress_text: str) -> Iterator[Tensor]:
        """Yield all images in order, in batches, as floats in [0, 1]."""
        for start in tqdm(range(0, len(self.images), _BATCH), desc=progress_text, mininterval=2, leave=False):
            yield self.images[start : start + _BATCH].float() / 255


def draw_gallery(rng: np.random.Generator, per_subject: int | None = None, split: str = "test") -> Gallery:
    """Draw every attribute combination of a split once, or `per_subject` random ones of each subject."""
    indices = combinations(split)
    if per_subject is not None:
        indices = indices[:, rng.permutation(indices.shape[1])[:per_subject]]
    attributes = indices.reshape(-1, indices.shape[-1])
    starts = range(0, len(attributes), _BATCH)
    images = [
        (draw_all(attributes[i : i + _BATCH], rng) * 255).round().byte()
        for i in tqdm(starts, desc="drawing posters", mininterval=2, leave=False)
    ]
    return Gallery(attributes, torch.cat(images))


@torch.no_grad()
def gallery_features(prefdisc: PrefDisc, gallery: Gallery) -> Tensor:
    """Return the image tokens of every poster after PrefDisc's connector: (N, latents, D), on the CPU."""
    return torch.cat([prefdisc.features(batch).float().cpu() for batch in gallery.batches("encoding posters")])


@dataclass(frozen=True)
class Trials:
    """Trials of n users: a history of k pairs each, and m sets of c posters of one subject to choose from.

    Attributes:
        utilities: (n, 24).
        history: Gallery indices (n, k, 2), the liked image first.
        targets: Gallery indices (n, m, c), in random order.
        chosen: Index of the chosen poster in each set, (n, m).
        truth: True utilities of the targets, (n, m, c).
    """

    utilities: np.ndarray
    history: np.ndarray
    targets: np.ndarray
    chosen: np.ndarray
    truth: np.ndarray

    def __len__(self) -> int:
        return len(self.utilities)

    def with_history_of_others(self) -> Trials:
        """Return the same trials with each user's history replaced by another user's (control condition)."""
        return Trials(self.utilities, np.roll(self.history, 1, axis=0), self.targets, self.chosen, self.truth)


def draw_trials(
    world: World,
    gallery: Gallery,
    utilities: np.ndarray,
    targets: int,
    rng: np.random.Generator,
    pairs: int = PAIRS,
    choices: int = 2,
    subjects: Sequence[int] | None = None,
) -> Trials:
    """Draw histories, target sets and choices.

    Choices between two posters follow Bradley-Terry. Choices among more follow Luce's model,
    P(i) = exp(u_i / t) / sum exp(u / t), of which Bradley-Terry is the case of two (our choice; in the paper, users
    named one liked and three disliked images).

    Args:
        world: The simulator.
        gallery: Posters to choose from.
        utilities: Utilities of n users, (n, 24).
        targets: Number of target sets for each user.
        rng: Random generator.
        pairs: Pairs in each history.
        choices: Posters in each target set.
        subjects: Indices of the subjects that histories contain. None allows all.
    """
    history = _sets(gallery, (len(utilities), pairs), 2, rng, subjects)
    u = _utilities(utilities, gallery, history)
    history = np.where(_choose(world, u, rng)[..., None] == 0, history, history[..., ::-1])
    rows = _sets(gallery, (len(utilities), targets), choices, rng)
    truth = _utilities(utilities, gallery, rows)
    return Trials(utilities, history, rows, _choose(world, truth, rng), truth)


def _sets(
    gallery: Gallery,
    shape: tuple[int, ...],
    size: int,
    rng: np.random.Generator,
    subjects: Sequence[int] | None = None,
) -> np.ndarray:
    """Draw sets of `size` different posters of one subject: gallery indices (*shape, size)."""
    subject = rng.choice(range(len(ATTRIBUTES["subject"])) if subjects is None else subjects, size=(*shape, 1))
    offsets = rng.integers(gallery.per_subject, size=(*shape, size))
    while (repeated := (np.diff(np.sort(offsets, axis=-1)) == 0).any(-1)).any():
        offsets[repeated] = rng.integers(gallery.per_subject, size=(repeated.sum(), size))
    return subject * gallery.per_subject + offsets


def _utilities(utilities: np.ndarray, gallery: Gallery, rows: np.ndarray) -> np.ndarray:
    return utility_of(utilities[:, None, None], gallery.attributes[rows])


def _choose(world: World, utilities: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Sample choices (...,) among utilities (..., c) from Luce's model, with the Gumbel-max trick."""
    return (utilities / world.temperature + rng.gumbel(size=utilities.shape)).argmax(-1)
