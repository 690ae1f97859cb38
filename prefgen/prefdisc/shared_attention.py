"""Candidates against one shared history: the prefix is attended to once for all of them, by no copy of it.

Each candidate's queries attend to the prefix's keys, of which there is one set, and, causally, to the candidate's own;
the two softmaxes are merged by their log-sum-exps. That is the same attention as over the whole sequence, without
repeating the prefix for every candidate.

A gradient goes to the candidate's own queries, keys and values, and to nothing of the prefix, which is detached. The
fast kernel's log-sum-exp carries none, so the backward pass is written out (`SharedAttention`): it keeps no copy of the
prefix and no attention weights, and works the weights out again, a few rows at a time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

if TYPE_CHECKING:
    from transformers import Idefics2ForConditionalGeneration

    from .prefix import HistoryPrefix

NAME = "prefgen_shared_prefix"
"""What transformers' attention registry knows this by."""

SCORES = 2**25
"""Attention scores held at once where there is no fused kernel: 128 MiB in float32 (default ours)."""

GRADIENT_SCORES = {"cpu": 2**18}
"""The same in a backward pass, by device: 1 MiB on a CPU, where more is no faster (default ours)."""


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
    """transformers' attention function. query (B, heads, L, d), key, value (B, kv_heads, L, d) -> (B, L, heads, d).

    With a shared prefix the candidates' own tokens are causal and unmasked, so padding stands on the right.
    """
    if shared_prefix is None:
        from transformers import AttentionInterface

        sdpa = AttentionInterface()["sdpa"]
        return sdpa(module, query, key, value, attention_mask, scaling=scaling, **options)
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    keys, values = shared_prefix.keys_values[module.layer_idx]
    return merged(query, key, value, keys, values, scale).transpose(1, 2).contiguous(), None


def merged(query: Tensor, key: Tensor, value: Tensor, keys: Tensor, values: Tensor, scale: float) -> Tensor:
    """Attention of query (B, heads, L, d) to the prefix's keys, values (1, kv_heads, P, d) and, causally, to its own
    key, value (B, kv_heads, L, d): (B, heads, L, d). Differentiable, once, in query, key and value."""
    return SharedAttention.apply(query, key, value, keys, values, scale)


class SharedAttention(torch.autograd.Function):
    """`merged` with its gradient: of the whole softmax, from its output and log-sum-exp (FlashAttention's backward
    pass, arXiv 2205.14135), first over the prefix, then over the candidates' own tokens."""

    @staticmethod
    def forward(ctx, query: Tensor, key: Tensor, value: Tensor, keys: Tensor, values: Tensor, scale: float) -> Tensor:
        out, lse = _merged(query, key, value, keys, values, scale)
        ctx.save_for_backward(query, key, value, keys, values, out, lse)  # of the prefix: references, not copies
        ctx.scale = scale
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, keys, values, out, lse = ctx.saved_tensors
        # What the softmax's normalisation takes off the gradient of every score of a row.
        mean = (grad * out).sum(-1, dtype=lse.dtype)
        far = _gradient_through_prefix(query, grad, lse, mean, keys, values, ctx.scale)
        near, to_key, to_value = _gradient_through_own(query, grad, lse, mean, key, value, ctx.scale)
        return (far + near).to(query.dtype), to_key.to(key.dtype), to_value.to(value.dtype), None, None, None


def _gradient_through_prefix(
    query: Tensor, grad: Tensor, lse: Tensor, mean: Tensor, keys: Tensor, values: Tensor, scale: float
) -> Tensor:
    """The prefix's part of the query's gradient (B, heads, L, d), with few scores held at once."""
    kv_heads, wide = keys.shape[1], lse.dtype
    rows = [_by_kv_head(tensor, kv_heads) for tensor in (query, grad, lse[..., None], mean[..., None])]
    found = torch.empty_like(rows[0], dtype=wide)
    most = max(1, GRADIENT_SCORES.get(query.device.type, SCORES) // keys.shape[2])
    for head in range(kv_heads):
        key, value = keys[0, head].to(wide), values[0, head].to(wide)
        for start in range(0, found.shape[1], most):
            here = slice(start, start + most)
            q, g, total, taken = (tensor[head, here].to(wide) for tensor in rows)
            weights = torch.addmm(-total, q, key.T, alpha=scale).exp_()
            slope = torch.addmm(-taken, g, value.T).mul_(weights)
            found[head, here] = (slope @ key).mul_(scale)
    return _by_candidate(found, query.shape)


def _gradient_through_own(
    query: Tensor, grad: Tensor, lse: Tensor, mean: Tensor, key: Tensor, value: Tensor, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    """The candidates' own tokens' part: of the query's gradient (B, heads, L, d), and all of the key's and value's."""
    groups, wide = query.shape[1] // key.shape[1], lse.dtype
    query, grad = query.to(wide), grad.to(wide)
    own_key, own_value = (tensor.to(wide).repeat_interleave(groups, dim=1) for tensor in (key, value))
    scores = (query @ own_key.mT * scale - lse[..., None]).masked_fill(_ahead(query.shape[2], query.device), -torch.inf)
    weights = scores.exp()
    slope = weights * (grad @ own_value.mT - mean[..., None]) * scale
    to_key, to_value = (tensor.unflatten(1, (-1, groups)).sum(2) for tensor in (slope.mT @ query, weights.mT @ grad))
    return slope @ own_key, to_key, to_value


def _ahead(length: int, device: torch.device, start: int = 0, rows: int | None = None) -> Tensor:
    """Which tokens lie ahead of the rows from `start` on: (rows, length)."""
    rows = length - start if rows is None else rows
    return torch.ones(rows, length, dtype=torch.bool, device=device).triu(start + 1)


def _merged(
    query: Tensor, key: Tensor, value: Tensor, keys: Tensor, values: Tensor, scale: float
) -> tuple[Tensor, Tensor]:
    """`merged` and the whole softmax's log-sum-exp (B, heads, L)."""
    groups = query.shape[1] // key.shape[1]
    far, far_lse = _softmax_attention(_by_kv_head(query, key.shape[1])[None], keys, values, scale, causal=False)
    far = _by_candidate(far[0], query.shape)
    far_lse = _by_candidate(far_lse[0, ..., None], (*query.shape[:3], 1))[..., 0]
    own_key, own_value = (tensor.repeat_interleave(groups, dim=1) for tensor in (key, value))
    near, near_lse = _softmax_attention(query, own_key, own_value, scale, causal=True)
    # exp(far_lse) / (exp(far_lse) + exp(near_lse)): the prefix's share of the whole softmax.
    share = torch.sigmoid(far_lse - near_lse)[..., None]
    wide = share.dtype
    out = torch.lerp(near.to(wide), far.to(wide), share).to(query.dtype)
    return out, torch.logaddexp(far_lse, near_lse)


def _by_kv_head(x: Tensor, kv_heads: int) -> Tensor:
    """(B, heads, L, d) -> (kv_heads, B * groups * L, d): one row of queries a kv head, every candidate's and every
    head's of its group, so that the prefix is never repeated."""
    return x.unflatten(1, (kv_heads, -1)).transpose(0, 1).flatten(1, 3)


def _by_candidate(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The way back, to `shape` (B, heads, L, d)."""
    batch, heads, length, _ = shape
    return x.unflatten(1, (batch, heads // len(x), length)).transpose(0, 1).flatten(1, 2)


def _softmax_attention(query: Tensor, key: Tensor, value: Tensor, scale: float, causal: bool) -> tuple[Tensor, Tensor]:
    """Attention (B, heads, L, d) and its log-sum-exp (B, heads, L), float32 at least."""
    fused = getattr(torch.ops.aten, "_scaled_dot_product_flash_attention_for_cpu", None)
    if fused is not None and query.device.type == "cpu":
        return fused(query, key, value, is_causal=causal, scale=scale)
    return by_matrix(query, key, value, scale, causal)


def by_matrix(query: Tensor, key: Tensor, value: Tensor, scale: float, causal: bool) -> tuple[Tensor, Tensor]:
    """The same, spelled out, with at most `SCORES` scores held at once: for devices whose fused kernels hand out no
    log-sum-exp by a public door."""
    parts = []
    wide = torch.promote_types(query.dtype, torch.float32)
    rows = max(1, SCORES // (query.shape[0] * query.shape[1] * key.shape[2]))
    for start in range(0, query.shape[2], rows):
        scores = query[:, :, start : start + rows].to(wide) @ key.mT.to(wide) * scale
        if causal:
            scores = scores.masked_fill(_ahead(key.shape[2], scores.device, start, scores.shape[2]), -torch.inf)
        lse = scores.logsumexp(-1)
        parts.append(((scores - lse[..., None]).exp().to(value.dtype) @ value, lse))
    outs, lses = zip(*parts, strict=True)
    return torch.cat(outs, dim=2), torch.cat(lses, dim=2)
