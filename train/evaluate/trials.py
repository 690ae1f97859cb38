"""What every measurement is made of: drawn posters of unseen combinations, users, histories and choices."""

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
from train.pocket.batches import draw_all

PAIRS = 8
"""Pairs in a history (method.md section 1: N_ref = 8)."""
STREAM = 20261121
"""The first word of every seed here; the trainings' seeds begin otherwise, so no draw of theirs is drawn again."""
_BATCH = 64


@dataclass(frozen=True)
class Gallery:
    """Posters to choose between: as many of every subject, in blocks.

    attributes (N, 6) indices. images uint8 (N, 3, 96, 96).
    """

    attributes: np.ndarray
    images: Tensor

    @property
    def each(self) -> int:
        """Posters of a subject."""
        return len(self.attributes) // len(ATTRIBUTES["subject"])

    def prompts(self, rows: np.ndarray) -> np.ndarray:
        """The prompts of posters, of the same shape as `rows`: what a user would have asked for."""
        return np.array(list(ATTRIBUTES["subject"].values()))[self.attributes[rows, 0]]

    def batches(self, what: str) -> Iterator[Tensor]:
        """All images in order, in batches, as floats in [0, 1]."""
        for start in tqdm(range(0, len(self.images), _BATCH), desc=what, mininterval=2, leave=False):
            yield self.images[start : start + _BATCH].float() / 255


def draw_gallery(rng: np.random.Generator, each: int | None = None, split: str = "test") -> Gallery:
    """Draw every combination of a split once, or `each` of every subject, chosen at random."""
    known = combinations(split)
    if each is not None:
        known = known[:, rng.permutation(known.shape[1])[:each]]
    attributes = known.reshape(-1, known.shape[-1])
    parts = range(0, len(attributes), _BATCH)
    images = [
        (draw_all(attributes[i : i + _BATCH], rng) * 255).round().byte()
        for i in tqdm(parts, desc="drawing posters", mininterval=2, leave=False)
    ]
    return Gallery(attributes, torch.cat(images))


@torch.no_grad()
def features_of(prefdisc: PrefDisc, gallery: Gallery) -> Tensor:
    """Every poster as PrefDisc's connector shows it to the decoder: (N, latents, D), on the CPU."""
    return torch.cat([prefdisc.features(batch).float().cpu() for batch in gallery.batches("looking at posters")])


@dataclass(frozen=True)
class Trials:
    """n users, each with a history of k pairs and m sets of c posters of one subject to choose from.

    utilities (n, 24). history (n, k, 2): rows of a gallery, liked first. targets (n, m, c): rows, in no order. chosen
    (n, m): which of each set the user likes best. truth (n, m, c): the utilities of the targets.
    """

    utilities: np.ndarray
    history: np.ndarray
    targets: np.ndarray
    chosen: np.ndarray
    truth: np.ndarray

    def __len__(self) -> int:
        return len(self.utilities)

    def with_history_of_others(self) -> Trials:
        """The same trials, every user with the next one's history: the control for reading a history at all."""
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
    """Draw histories and target sets for users of these utilities (n, 24), and what they choose.

    A choice is Bradley-Terry; of more than two it is Luce's, P(i) = exp(u_i / t) / sum exp(u / t), which is
    Bradley-Terry between any two (default ours; the paper's users gave one liked and three disliked images).
    subjects: those that histories are of; None: all.
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
    """Rows of `size` different posters of one subject: (*shape, size)."""
    of = rng.choice(range(len(ATTRIBUTES["subject"])) if subjects is None else subjects, size=(*shape, 1))
    places = rng.integers(gallery.each, size=(*shape, size))
    while (twice := (np.diff(np.sort(places, axis=-1)) == 0).any(-1)).any():
        places[twice] = rng.integers(gallery.each, size=(twice.sum(), size))
    return of * gallery.each + places


def _utilities(utilities: np.ndarray, gallery: Gallery, rows: np.ndarray) -> np.ndarray:
    return utility_of(utilities[:, None, None], gallery.attributes[rows])


def _choose(world: World, utilities: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Index of the chosen (...,) among utilities (..., c): the largest after Gumbel noise, which is Luce's choice."""
    return (utilities / world.temperature + rng.gumbel(size=utilities.shape)).argmax(-1)
