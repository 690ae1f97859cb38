"""Attention to a shared prefix: the same numbers as attention over the whole sequence, and no copy of the prefix."""

import pytest
import torch
import torch.nn.functional as F

from prefgen.prefdisc import shared_prefix
from prefgen.prefdisc.prefix import HistoryPrefix
from tests.prefgen import tiny


def drawn(dtype=torch.float32, batch=3, heads=4, kv_heads=2, length=7, prefix=19, width=8):
    """query, key, value, keys, values; large enough that the softmaxes are far from even."""
    torch.manual_seed(0)
    shapes = [(batch, heads, length), (batch, kv_heads, length), (batch, kv_heads, length)]
    shapes += [(1, kv_heads, prefix), (1, kv_heads, prefix)]
    return [(2 * torch.randn(*shape, width)).to(dtype) for shape in shapes]


def plain(query, key, value, keys, values):
    """The same in one softmax, float64, over the prefix copied for every candidate."""
    query, key, value, keys, values = (tensor.double() for tensor in (query, key, value, keys, values))
    whole = [torch.cat([far.expand(len(query), -1, -1, -1), own], 2) for far, own in ((keys, key), (values, value))]
    length = query.shape[2]
    seen = torch.ones(length, whole[0].shape[2], dtype=torch.bool).tril(whole[0].shape[2] - length)
    return F.scaled_dot_product_attention(query, *whole, attn_mask=seen, enable_gqa=True)


# Scores reach 30, whose rounding (6e-8 of them in float32) is relative in a weight, times values up to 6. In bfloat16
# weights and outputs are rounded at 4e-3.
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 3e-2)])
@pytest.mark.parametrize("kernel", ["fused", "by matrix", "by matrix, a row at a time"])
def test_merged_is_one_softmax(dtype, tolerance, kernel, monkeypatch):
    if kernel != "fused":
        monkeypatch.setattr(shared_prefix, "_softmax_attention", shared_prefix.by_matrix)
    if kernel == "by matrix, a row at a time":
        monkeypatch.setattr(shared_prefix, "SCORES", 1)
    tensors = drawn(dtype)
    merged = shared_prefix.merged(*tensors, scale=8**-0.5)
    assert merged.dtype == dtype
    assert (merged.double() - plain(*tensors)).abs().max() < tolerance


def test_a_prefix_that_outweighs_everything_leaves_the_numbers_finite():
    query, key, value, keys, values = drawn()
    merged = shared_prefix.merged(query * 100, key, value, keys * 100, values, scale=8**-0.5)
    assert torch.isfinite(merged).all()
    assert torch.allclose(merged.double(), plain(query * 100, key, value, keys * 100, values), atol=1e-4)


@pytest.fixture(scope="module")
def model():
    return tiny.prefdisc()


CANDIDATES = torch.rand(5, 3, 24, 24, generator=torch.Generator().manual_seed(5))
PROMPTS = ["a cat", "", "the red house on a dog", "a", "a dog"]


def test_scoring_copies_no_prefix_and_agrees_with_the_copy(model, monkeypatch):
    prefix = model.encode(tiny.history(3))
    copied = model.logits(prefix, CANDIDATES, PROMPTS)  # the parameters want a gradient
    assert copied.requires_grad
    # With nothing to copy from, a candidate that did not share the prefix would be judged without a history.
    monkeypatch.setattr(HistoryPrefix, "cache", lambda self, batch: None)
    with torch.no_grad():
        shared = model.logits(prefix, CANDIDATES, PROMPTS, chunk=2)
    # float32, four layers of weights six times the usual
    assert torch.allclose(shared, copied, atol=1e-4)
    assert copied.std() > 0.05, "the weights are too small for this test to mean anything"


def test_frozen_weights_share_without_being_told(model, monkeypatch):
    frozen = tiny.prefdisc().requires_grad_(False)
    prefix = frozen.encode(tiny.history(2))
    seen = []
    monkeypatch.setattr(
        shared_prefix, "merged", lambda *given, _real=shared_prefix.merged: seen.append(1) or _real(*given)
    )
    frozen.logits(prefix, CANDIDATES)
    assert len(seen) == tiny.CONFIG["text_config"]["num_hidden_layers"]
    image = CANDIDATES[:1].clone().requires_grad_()
    frozen.logits(prefix, image).sum().backward()
    assert len(seen) == tiny.CONFIG["text_config"]["num_hidden_layers"], "a gradient goes another way"
    assert image.grad.abs().sum() > 0


def test_a_gradient_through_a_shared_prefix_is_refused(model):
    prefix = model.encode(tiny.history(1))
    layer = model.base.model.text_model.layers[0].self_attn
    query, key, value, *_ = drawn(width=tiny.WIDTH // 4)
    with pytest.raises(RuntimeError, match="carries no gradient"):
        shared_prefix.attend(layer, query.requires_grad_(), key, value, None, shared_prefix=prefix)


def test_another_attention_scores_the_same(model):
    """Whoever looks at attention weights sets eager, and gets the same scores from a copied prefix."""
    eager = tiny.prefdisc().requires_grad_(False)
    eager.base.set_attn_implementation("eager")
    prefix = model.encode(tiny.history(2))
    with torch.no_grad():
        ours = model.logits(prefix, CANDIDATES, PROMPTS)
    assert torch.allclose(ours, eager.logits(eager.encode(tiny.history(2)), CANDIDATES, PROMPTS), atol=1e-4)
