"""Attention of many candidates to one shared history, without copying the history's keys and values.

Each candidate's queries attend to the prefix, which is stored once, and causally to the candidate's own tokens. The two
softmaxes are merged by their log-sum-exps. The result equals attention over the whole sequence.

Gradients reach the candidate's queries, keys and values. The prefix is detached. The fast kernel's log-sum-exp has no
gradient, so `SharedAttention` implements the backward pass: it stores neither a copy of the prefix nor attention
weights, and recomputes the weights a few rows at a time.
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
"""Name in transformers' attention registry."""

MAX_SCORES = 2**25
"""Maximum number of attention scores in memory without a fused kernel: 128 MiB in float32. Our choice."""

MAX_BACKWARD_SCORES = {"cpu": 2**18}
"""The same for the backward pass, by device type: 1 MiB on a CPU, where more is no faster. Our choice."""


def use_shared_attention(base: Idefics2ForConditionalGeneration) -> None:
    """Make the decoder of `base` use `shared_prefix_attention_forward`.

    It behaves like SDPA unless a `shared_prefix` is passed to the decoder's forward. A decoder that uses another
    implementation than SDPA keeps it.
    """
    from transformers import AttentionInterface, AttentionMaskInterface

    AttentionInterface.register(NAME, shared_prefix_attention_forward)
    AttentionMaskInterface.register(NAME, AttentionMaskInterface()["sdpa"])
    if base.config.text_config._attn_implementation == "sdpa":
        base.set_attn_implementation({"text_config": NAME})


def uses_shared_attention(base: Idefics2ForConditionalGeneration) -> bool:
    """Return whether the decoder uses shared attention. A caller may have chosen another, such as eager."""
    return base.config.text_config._attn_implementation == NAME


def shared_prefix_attention_forward(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    shared_prefix: HistoryPrefix | None = None,
    **options,
) -> tuple[Tensor, None]:
    """Compute attention as a transformers attention function.

    Args:
        module: The attention layer.
        query: (B, heads, L, d).
        key, value: (B, kv_heads, L, d).
        attention_mask: Ignored with a shared prefix: the candidates' own tokens are causal, with padding on the right.
        scaling: Factor of the scores; None for 1 / sqrt(d).
        shared_prefix: Encoded history that all candidates attend to. None computes SDPA.
        **options: Passed to SDPA.

    Returns:
        The attention output (B, L, heads, d), and None for the weights.
    """
    if shared_prefix is None:
        from transformers import AttentionInterface

        sdpa = AttentionInterface()["sdpa"]
        return sdpa(module, query, key, value, attention_mask, scaling=scaling, **options)
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    prefix_keys, prefix_values = shared_prefix.keys_values[module.layer_idx]
    attended = shared_prefix_attention(query, key, value, prefix_keys, prefix_values, scale)
    return attended.transpose(1, 2).contiguous(), None


def shared_prefix_attention(
    query: Tensor, key: Tensor, value: Tensor, prefix_keys: Tensor, prefix_values: Tensor, scale: float
) -> Tensor:
    """Compute attention to a shared prefix and, causally, to the candidate's own tokens.

    Differentiable once in query, key and value.

    Args:
        query: (B, heads, L, d).
        key, value: The candidates' own, (B, kv_heads, L, d).
        prefix_keys, prefix_values: The prefix's, (1, kv_heads, P, d).
        scale: Factor of the scores.

    Returns:
        (B, heads, L, d).
    """
    return SharedAttention.apply(query, key, value, prefix_keys, prefix_values, scale)


class SharedAttention(torch.autograd.Function):
    """`shared_prefix_attention` with its gradient.

    The backward pass is FlashAttention's (arXiv 2205.14135): it recomputes the weights from the output's log-sum-exp,
    first over the prefix, then over the candidates' own tokens.
    """

    @staticmethod
    def forward(
        ctx, query: Tensor, key: Tensor, value: Tensor, prefix_keys: Tensor, prefix_values: Tensor, scale: float
    ) -> Tensor:
        out, lse = _forward(query, key, value, prefix_keys, prefix_values, scale)
        # Saves references to the prefix, not copies.
        ctx.save_for_backward(query, key, value, prefix_keys, prefix_values, out, lse)
        ctx.scale = scale
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, prefix_keys, prefix_values, out, lse = ctx.saved_tensors
        # FlashAttention's D: the softmax's normalisation subtracts it from the gradient of every score of a row.
        delta = (grad * out).sum(-1, dtype=lse.dtype)
        prefix_grad = _prefix_query_gradient(query, grad, lse, delta, prefix_keys, prefix_values, ctx.scale)
        own_grad, key_grad, value_grad = _own_gradients(query, grad, lse, delta, key, value, ctx.scale)
        query_grad = (prefix_grad + own_grad).to(query.dtype)
        return query_grad, key_grad.to(key.dtype), value_grad.to(value.dtype), None, None, None


def _prefix_query_gradient(
    query: Tensor, grad: Tensor, lse: Tensor, delta: Tensor, prefix_keys: Tensor, prefix_values: Tensor, scale: float
) -> Tensor:
    """Return the prefix's part of the query's gradient (B, heads, L, d), computed a few rows at a time."""
    kv_heads, dtype = prefix_keys.shape[1], lse.dtype
    rows = [_group_by_kv_head(tensor, kv_heads) for tensor in (query, grad, lse[..., None], delta[..., None])]
    query_grad = torch.empty_like(rows[0], dtype=dtype)
    chunk = max(1, MAX_BACKWARD_SCORES.get(query.device.type, MAX_SCORES) // prefix_keys.shape[2])
    for head in range(kv_heads):
        key, value = prefix_keys[0, head].to(dtype), prefix_values[0, head].to(dtype)
        for start in range(0, query_grad.shape[1], chunk):
            here = slice(start, start + chunk)
            q, g, row_lse, row_delta = (tensor[head, here].to(dtype) for tensor in rows)
            weights = torch.addmm(-row_lse, q, key.T, alpha=scale).exp_()
            score_grad = torch.addmm(-row_delta, g, value.T).mul_(weights)
            query_grad[head, here] = (score_grad @ key).mul_(scale)
    return _ungroup(query_grad, query.shape)


def _own_gradients(
    query: Tensor, grad: Tensor, lse: Tensor, delta: Tensor, key: Tensor, value: Tensor, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the own tokens' part of the query's gradient (B, heads, L, d), and the key's and value's gradients."""
    groups, dtype = query.shape[1] // key.shape[1], lse.dtype
    query, grad = query.to(dtype), grad.to(dtype)
    own_key, own_value = (tensor.to(dtype).repeat_interleave(groups, dim=1) for tensor in (key, value))
    scores = query @ own_key.mT * scale - lse[..., None]
    weights = scores.masked_fill(_future_mask(query.shape[2], query.device), -torch.inf).exp()
    score_grad = weights * (grad @ own_value.mT - delta[..., None]) * scale
    key_grad, value_grad = (
        tensor.unflatten(1, (-1, groups)).sum(2) for tensor in (score_grad.mT @ query, weights.mT @ grad)
    )
    return score_grad @ own_key, key_grad, value_grad


def _future_mask(length: int, device: torch.device, start: int = 0, rows: int | None = None) -> Tensor:
    """Return which tokens lie in the future of the rows from `start` on: (rows, length)."""
    rows = length - start if rows is None else rows
    return torch.ones(rows, length, dtype=torch.bool, device=device).triu(start + 1)


def _forward(
    query: Tensor, key: Tensor, value: Tensor, prefix_keys: Tensor, prefix_values: Tensor, scale: float
) -> tuple[Tensor, Tensor]:
    """Return `shared_prefix_attention` and the log-sum-exp (B, heads, L) of all scores of a row."""
    groups = query.shape[1] // key.shape[1]
    grouped = _group_by_kv_head(query, key.shape[1])[None]
    prefix_out, prefix_lse = _softmax_attention(grouped, prefix_keys, prefix_values, scale, causal=False)
    prefix_out = _ungroup(prefix_out[0], query.shape)
    prefix_lse = _ungroup(prefix_lse[0, ..., None], (*query.shape[:3], 1))[..., 0]
    own_key, own_value = (tensor.repeat_interleave(groups, dim=1) for tensor in (key, value))
    own_out, own_lse = _softmax_attention(query, own_key, own_value, scale, causal=True)
    # exp(prefix_lse) / (exp(prefix_lse) + exp(own_lse)): the prefix's share of the whole softmax.
    prefix_share = torch.sigmoid(prefix_lse - own_lse)[..., None]
    dtype = prefix_share.dtype
    out = torch.lerp(own_out.to(dtype), prefix_out.to(dtype), prefix_share).to(query.dtype)
    return out, torch.logaddexp(prefix_lse, own_lse)


def _group_by_kv_head(x: Tensor, kv_heads: int) -> Tensor:
    """Reshape (B, heads, L, d) to (kv_heads, B * groups * L, d): all queries of a kv head as one row."""
    return x.unflatten(1, (kv_heads, -1)).transpose(0, 1).flatten(1, 3)


def _ungroup(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Undo `_group_by_kv_head`. `shape` is (B, heads, L, d)."""
    batch, heads, length, _ = shape
    return x.unflatten(1, (batch, heads // len(x), length)).transpose(0, 1).flatten(1, 2)


def _softmax_attention(query: Tensor, key: Tensor, value: Tensor, scale: float, causal: bool) -> tuple[Tensor, Tensor]:
    """Return attention (B, heads, L, d) and its log-sum-exp (B, heads, L), which is at least float32."""
    fused = getattr(torch.ops.aten, "_scaled_dot_product_flash_attention_for_cpu", None)
    if fused is not None and query.device.type == "cpu":
        return fused(query, key, value, is_causal=causal, scale=scale)
    return softmax_attention_in_chunks(query, key, value, scale, causal)


def softmax_attention_in_chunks(
    query: Tensor, key: Tensor, value: Tensor, scale: float, causal: bool
) -> tuple[Tensor, Tensor]:
    """Compute the same as `_softmax_attention` by plain matrix products, with at most `MAX_SCORES` scores at once.

    For devices whose fused kernels do not return the log-sum-exp through a public function.
    """
    outs, lses = [], []
    dtype = torch.promote_types(query.dtype, torch.float32)
    rows = max(1, MAX_SCORES // (query.shape[0] * query.shape[1] * key.shape[2]))
    for start in range(0, query.shape[2], rows):
        scores = query[:, :, start : start + rows].to(dtype) @ key.mT.to(dtype) * scale
        if causal:
            scores = scores.masked_fill(_future_mask(key.shape[2], scores.device, start, scores.shape[2]), -torch.inf)
        lses.append(scores.logsumexp(-1))
        outs.append((scores - lses[-1][..., None]).exp().to(value.dtype) @ value)
    return torch.cat(outs, dim=2), torch.cat(lses, dim=2)
