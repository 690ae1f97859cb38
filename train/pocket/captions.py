"""Samples prompts and full captions of posters for training adapters."""

from __future__ import annotations

import numpy as np
import torch

from train.data.posters import ATTRIBUTES, TASTE, Attributes, caption
from train.diffusion import TextConditioning
from train.pocket.text import CachedTextEncoders

NAMES_MORE_SHARE = 0.25  # share of prompts that can name more than the subject
BLENDED_SUBJECT_SHARE = 0.5  # share of captions whose subject is a mixture of two subjects


def sample_named_attributes(rng: np.random.Generator) -> tuple[str, ...]:
    """Sample the attributes that a prompt names. Most prompts name only the subject."""
    more = rng.random() < NAMES_MORE_SHARE
    return ("subject", *(name for name in TASTE if more and rng.random() < 0.5))


def sample_captions(
    indices: np.ndarray, rng: np.random.Generator, encode: CachedTextEncoders
) -> tuple[TextConditioning, TextConditioning]:
    """Sample the conditioning of prompts and of full captions for posters (B, 6).

    Some of the captions are interpolated between two subjects. No word describes these mixtures, so user tokens must
    work for unknown subjects.
    """
    named = [sample_named_attributes(rng) for _ in indices]
    blended = rng.random(len(indices)) < BLENDED_SUBJECT_SHARE
    others = indices.copy()
    others[blended, 0] = rng.permutation(indices[:, 0])[blended]
    share = torch.from_numpy(np.where(blended, rng.random(len(indices)), 0.0)).float()

    def encode_captions(names: list[tuple[str, ...]]) -> TextConditioning:
        both = [
            encode([caption(Attributes.from_indices(row), keys) for row, keys in zip(rows, names, strict=True)])
            for rows in (indices, others)
        ]
        return tuple(
            torch.lerp(one, two, share.view(-1, *[1] * (one.ndim - 1))) for one, two in zip(*both, strict=True)
        )

    return encode_captions(named), encode_captions([tuple(ATTRIBUTES)] * len(indices))
