"""Samples prompts and full captions of posters for the adapter trainings."""

from __future__ import annotations

import numpy as np
import torch

from train.data.posters import ATTRIBUTES, TASTE, Attributes, caption
from train.diffusion import TextConditioning
from train.pocket.text import CachedTextEncoders

NAMES_MORE_SHARE = 0.25  # share of captions that name further attributes
BLENDED_SUBJECT_SHARE = 0.5  # share of captions whose subject is between two


def sample_named_attributes(rng: np.random.Generator) -> tuple[str, ...]:
    """Sample the attributes that a prompt names. Mostly it names only the subject and leaves the rest to the taste."""
    more = rng.random() < NAMES_MORE_SHARE
    return ("subject", *(name for name in TASTE if more and rng.random() < 0.5))


def sample_captions(
    indices: np.ndarray, rng: np.random.Generator, encode: CachedTextEncoders
) -> tuple[TextConditioning, TextConditioning]:
    """What prompts say of posters (B, 6), and what captions say that name everything: each context and pooled text.

    A share of them is of a thing between two subjects, which no word names: what a user adds has to do without knowing
    what is painted.
    """
    told = [sample_named_attributes(rng) for _ in indices]
    strange = rng.random(len(indices)) < BLENDED_SUBJECT_SHARE
    others = indices.copy()
    others[strange, 0] = rng.permutation(indices[:, 0])[strange]
    share = torch.from_numpy(np.where(strange, rng.random(len(indices)), 0.0)).float()

    def encoded(names: list[tuple[str, ...]]) -> TextConditioning:
        both = [
            encode([caption(Attributes.from_indices(row), own) for row, own in zip(rows, names, strict=True)])
            for rows in (indices, others)
        ]
        return tuple(
            torch.lerp(one, two, share.view(-1, *[1] * (one.ndim - 1))) for one, two in zip(*both, strict=True)
        )

    return encoded(told), encoded([tuple(ATTRIBUTES)] * len(indices))
