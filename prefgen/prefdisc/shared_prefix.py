"""Candidates against one shared history: the prefix is attended to once for all of them, by no copy of it.

Each candidate's queries attend to the prefix's keys, of which there is one set, and, causally, to the candidate's own;
the two softmaxes are merged by their log-sum-exps. That is the same attention as over the whole sequence, without
repeating the prefix for every candidate.

It is for scoring only: the fast kernel's log-sum-exp carries no gradient, and a merge by it would give wrong gradients
silently. So a query that wants a gradient is refused here, and `PrefDisc.logits` takes an expanded cache for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from transformers import Idefics2ForConditionalGeneration

    from .prefix import HistoryPrefix

NAME = "prefgen_shared_prefix"
"""What transformers' attention registry knows this by."""

SCORES = 2**25
"""Attention scores held at once where there is no fused kernel: 128 MiB in float32 (default ours)."""


def install(base: Idefics2ForConditionalGeneration) -> None:
    """Let the decoder of `base` attend by `attend`: as SDPA does, until a `shared_prefix` is handed to its forward."""
    from transformers import AttentionInterface, AttentionMaskInterface

    AttentionInterface.register(NAME, attend)
    AttentionMaskInterface.register(NAME, AttentionMaskInterface()["sdpa"])
    if base.config.text_config._attn_implementation == "sdpa":
        base.set_attn_implementation({"text_config": NAME})


def is_installed(base: Idefics2ForConditionalGeneration) -> bool:
    """Whether the decoder attends by `attend`; someone may have chosen another, such as eager to look at weights."""
    return base.config.text_config._attn_implementation == NAME


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    shared_prefix: HistoryPrefix | None = None,
    **options,
) -> tuple[Tensor, None]:
    """An attention function of transformers'. query (B, heads, L, d), key and value (B, kv_heads, L, d) -> (B, L,
    heads, d). With a shared prefix the candidates' own tokens are causal and unmasked, so padding stands on the right.

    Raises RuntimeError where a gradient is wanted through the shared prefix.
    """
    if shared_prefix is None:
        from transformers import AttentionInterface

        sdpa = AttentionInterface()["sdpa"]
        return sdpa(module, query, key, value, attention_mask, scaling=scaling, **options)
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in (query, key, value)):
        raise RuntimeError("attention to a shared prefix carries no gradient: take an expanded cache for that")
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    keys, values = shared_prefix.keys_values[module.layer_idx]
    return merged(query, key, value, keys, values, scale).transpose(1, 2).contiguous(), None


def merged(query: Tensor, key: Tensor, value: Tensor, keys: Tensor, values: Tensor, scale: float) -> Tensor:
    """Attention of query (B, heads, L, d) to the prefix's keys, values (1, kv_heads, P, d) and, causally, to its own
    key, value (B, kv_heads, L, d): (B, heads, L, d)."""
    batch, heads, length, _ = query.shape
    groups = heads // key.shape[1]
    # One row of queries a kv head: every candidate's and every head's of its group. The prefix is never repeated.
    rows = query.unflatten(1, (-1, groups)).transpose(0, 1).flatten(1, 3)[None]
    far, far_lse = _softmax_attention(rows, keys, values, scale, causal=False)
    far = far[0].unflatten(1, (batch, groups, length)).transpose(0, 1).flatten(1, 2)
    far_lse = far_lse[0].unflatten(1, (batch, groups, length)).transpose(0, 1).flatten(1, 2)
    own_key, own_value = (tensor.repeat_interleave(groups, dim=1) for tensor in (key, value))
    near, near_lse = _softmax_attention(query, own_key, own_value, scale, causal=True)
    # exp(far_lse) / (exp(far_lse) + exp(near_lse)): the prefix's share of the whole softmax.
    share = torch.sigmoid(far_lse - near_lse)[..., None]
    return torch.lerp(near.float(), far.float(), share).to(query.dtype)


def _softmax_attention(query: Tensor, key: Tensor, value: Tensor, scale: float, causal: bool) -> tuple[Tensor, Tensor]:
    """Attention (B, heads, L, d) and its log-sum-exp (B, heads, L), float32."""
    fused = getattr(torch.ops.aten, "_scaled_dot_product_flash_attention_for_cpu", None)
    if fused is not None and query.device.type == "cpu":
        return fused(query, key, value, is_causal=causal, scale=scale)
    return by_matrix(query, key, value, scale, causal)


def by_matrix(query: Tensor, key: Tensor, value: Tensor, scale: float, causal: bool) -> tuple[Tensor, Tensor]:
    """The same, spelled out, with at most `SCORES` scores held at once: for devices whose fused kernels hand out no
    log-sum-exp by a public door."""
    parts = []
    rows = max(1, SCORES // (query.shape[0] * query.shape[1] * key.shape[2]))
    for start in range(0, query.shape[2], rows):
        scores = query[:, :, start : start + rows].float() @ key.mT.float() * scale
        if causal:
            ahead = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).triu(start + 1)
            scores = scores.masked_fill(ahead, float("-inf"))
        lse = scores.logsumexp(-1)
        parts.append(((scores - lse[..., None]).exp().to(value.dtype) @ value, lse))
    outs, lses = zip(*parts, strict=True)
    return torch.cat(outs, dim=2), torch.cat(lses, dim=2)
