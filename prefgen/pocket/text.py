"""Expands the pocket text encoders, whose files hold only the vocabulary rows in use."""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import CheckpointError

VOCABULARY = 49_408
ENCODERS = ("clip_l", "clip_g")
UNUSED_TENSORS = ("clip_l.logit_scale", "clip_g.logit_scale", "clip_l.transformer.text_projection.weight")
"""Tensors of ComfyUI's text encoders that SDXL does not use. Files may leave them out."""


def token_table(rows: Tensor, token_ids: Tensor, unknown: Tensor) -> Tensor:
    """Return the embedding table (49408, D): `rows` (n, D) at `token_ids` (n,), `unknown` (D,) elsewhere."""
    table = unknown.expand(VOCABULARY, -1).clone()
    table[token_ids] = rows
    return table


def expand_encoders(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights of ComfyUI's `SDXLClipModel`, float32, with whole embedding tables.

    Args:
        state: Weights `clip_l.*` and `clip_g.*` with ComfyUI's names. Instead of the embedding tables it holds
            `token_ids` (n,) and, for each encoder, `token_rows` (n, D) and `unknown_row` (D,).

    Raises:
        CheckpointError: A tensor is missing.
    """
    needed = ["token_ids", *(f"{name}.{part}" for name in ENCODERS for part in ("token_rows", "unknown_row"))]
    if missing := [name for name in needed if name not in state]:
        raise CheckpointError(f"The text encoder file has no {', '.join(missing)}. Reinstall the pack.")
    expanded = {name: tensor.to(torch.float32) for name, tensor in state.items() if name not in needed}
    for name in ENCODERS:
        expanded[f"{name}.transformer.text_model.embeddings.token_embedding.weight"] = token_table(
            state[f"{name}.token_rows"].float(), state["token_ids"].long(), state[f"{name}.unknown_row"].float()
        )
    return expanded
