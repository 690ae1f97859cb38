"""Only the vocabulary rows in use: most of a small text encoder would otherwise be 49,408 embeddings nobody reads."""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import CheckpointError

VOCABULARY = 49_408
ENCODERS = ("clip_l", "clip_g")
UNUSED_TENSORS = ("clip_l.logit_scale", "clip_g.logit_scale", "clip_l.transformer.text_projection.weight")
"""Tensors that core's text encoders have and SDXL never reads: the files may leave them out."""


def token_table(rows: Tensor, token_ids: Tensor, unknown: Tensor) -> Tensor:
    """The whole embedding table (49408, D): `rows` (n, D) at `token_ids` (n,), `unknown` (D,) everywhere else."""
    table = unknown.expand(VOCABULARY, -1).clone()
    table[token_ids] = rows
    return table


def expand_encoders(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The shipped text encoders as core's ``SDXLClipModel`` wants them, float32, vocabulary filled in.

    Args:
        state: ``clip_l.*`` and ``clip_g.*`` in core's names, but for the embedding tables: ``token_ids`` (n,) and, for
            each encoder, ``token_rows`` (n, D) and ``unknown_row`` (D,).

    Raises:
        CheckpointError: one of these tensors is missing.
    """
    needed = ["token_ids", *(f"{name}.{part}" for name in ENCODERS for part in ("token_rows", "unknown_row"))]
    missing = [name for name in needed if name not in state]
    if missing:
        raise CheckpointError(
            f"The text encoder file has no tensor {', '.join(missing)}; it needs the vocabulary rows of both encoders."
        )
    full = {name: tensor.to(torch.float32) for name, tensor in state.items() if name not in needed}
    for name in ENCODERS:
        full[f"{name}.transformer.text_model.embeddings.token_embedding.weight"] = token_table(
            state[f"{name}.token_rows"].float(), state["token_ids"].long(), state[f"{name}.unknown_row"].float()
        )
    return full
