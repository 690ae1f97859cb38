"""Attention to a shared prefix: the same numbers as attention over the whole sequence, and no copy of the prefix."""

import pytest
import torch
import torch.nn.functional as F

from prefgen.prefdisc import shared_attention
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
        monkeypatch.setattr(shared_attention, "_softmax_attention", shared_attention.softmax_attention_in_chunks)
    if kernel == "by matrix, a row at a time":
        monkeypatch.setattr(shared_attention, "MAX_SCORES", 1)
    tensors = drawn(dtype)
    merged = shared_attention.shared_prefix_attention(*tensors, scale=8**-0.5)
    assert merged.dtype == dtype
    assert (merged.double() - plain(*tensors)).abs().max() < tolerance


@pytest.mark.parametrize("scores", [1, 40, 2**18])
def test_the_gradient_is_that_of_one_softmax(scores, monkeypatch):
    """Against autograd through the whole sequence, in float64: only the order of the sums differs."""
    monkeypatch.setitem(shared_attention.MAX_BACKWARD_SCORES, "cpu", scores)
    tensors = drawn(torch.float64)
    weight = torch.randn(3, 4, 7, 8, dtype=torch.float64)
    found = []
    for attention in (lambda *given: shared_attention.shared_prefix_attention(*given, scale=8**-0.5), plain):
        own = [tensor.clone().requires_grad_() for tensor in tensors[:3]]
        found.append(torch.autograd.grad((attention(*own, *tensors[3:]) * weight).sum(), own))
    for ours, theirs in zip(*found, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-10, rtol=1e-8)
        assert theirs.abs().max() > 0.1


def test_the_gradient_is_the_finite_difference():
    *own, keys, values = drawn(torch.float64, batch=2, heads=2, kv_heads=1, length=3, prefix=4, width=2)
    own = [tensor.requires_grad_() for tensor in own]
    assert torch.autograd.gradcheck(
        lambda *given: shared_attention.shared_prefix_attention(*given, keys, values, scale=0.5), own
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_gradients_in_half_precision_are_finite_and_near(dtype):
    tensors = drawn(dtype)
    own = [tensor.clone().requires_grad_() for tensor in tensors[:3]]
    wide = [tensor.double().requires_grad_() for tensor in tensors[:3]]
    ours = torch.autograd.grad(shared_attention.shared_prefix_attention(*own, *tensors[3:], scale=8**-0.5).sum(), own)
    theirs = torch.autograd.grad(plain(*wide, *tensors[3:]).sum(), wide)
    for near, exact in zip(ours, theirs, strict=True):
        assert near.dtype == dtype
        # bfloat16 rounds the output, from which the gradient is made, at 4e-3; values reach 6
        assert (near.double() - exact).abs().max() < 0.03 * exact.abs().max() + 0.05


def test_the_backward_pass_keeps_no_copy_of_the_prefix():
    query, key, value, keys, values = drawn(prefix=500)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor):
        shared_attention.shared_prefix_attention(query.requires_grad_(), key, value, keys, values, scale=1.0)
    of_prefix = {keys.data_ptr(), values.data_ptr()}
    assert {tensor.data_ptr() for tensor in kept} >= of_prefix
    assert sum(tensor.nbytes for tensor in kept if tensor.data_ptr() not in of_prefix) < keys.nbytes / 2


def test_a_prefix_that_outweighs_everything_leaves_the_numbers_finite():
    query, key, value, keys, values = drawn()
    merged = shared_attention.shared_prefix_attention(query * 100, key, value, keys * 100, values, scale=8**-0.5)
    assert torch.isfinite(merged).all()
    assert torch.allclose(merged.double(), plain(query * 100, key, value, keys * 100, values), atol=1e-4)


@pytest.fixture(scope="module")
def model():
    return tiny.prefdisc()


CANDIDATES = torch.rand(5, 3, 24, 24, generator=torch.Generator().manual_seed(5))
PROMPTS = ["a cat", "", "the red house on a dog", "a", "a dog"]


def test_scoring_copies_no_prefix_and_agrees_with_the_copy(model, monkeypatch):
    prefix = model.encode(tiny.history(3))
    monkeypatch.setattr(shared_attention, "uses_shared_attention", lambda base: False)
    copied = model.logits(prefix, CANDIDATES, PROMPTS)
    monkeypatch.undo()
    # With nothing to copy from, a candidate that did not share the prefix would be judged without a history.
    monkeypatch.setattr(HistoryPrefix, "to_dynamic_cache", lambda self, batch: None)
    with torch.no_grad():
        shared = model.logits(prefix, CANDIDATES, PROMPTS, chunk_size=2)
    # float32, four layers of weights six times the usual
    assert torch.allclose(shared, copied, atol=1e-4)
    assert copied.std() > 0.05, "the weights are too small for this test to mean anything"


def test_gradients_share_too_and_agree_with_the_copy(model, monkeypatch):
    """To the pixels, and to the weights that judge the candidate: the history's part of both is detached."""
    prefix = model.encode(tiny.history(3))
    asked = [CANDIDATES.clone().requires_grad_(), *model.base.model.text_model.parameters()]

    def gradients():
        margin = model.logits(prefix, asked[0], PROMPTS, chunk_size=2).diff(dim=-1).sum()
        return torch.autograd.grad(margin, asked, allow_unused=True)

    shared = gradients()
    monkeypatch.setattr(shared_attention, "uses_shared_attention", lambda base: False)
    for ours, copied in zip(shared, gradients(), strict=True):
        if copied is not None:
            # float32 through four layers of weights six times the usual
            assert (ours - copied).abs().max() <= 1e-4 * copied.abs().max()
    assert shared[0].abs().sum() > 0


def test_another_attention_scores_the_same(model):
    """Whoever looks at attention weights sets eager, and gets the same scores from a copied prefix."""
    eager = tiny.prefdisc().requires_grad_(False)
    eager.base.set_attn_implementation("eager")
    prefix = model.encode(tiny.history(2))
    with torch.no_grad():
        ours = model.logits(prefix, CANDIDATES, PROMPTS)
    assert torch.allclose(ours, eager.logits(eager.encode(tiny.history(2)), CANDIDATES, PROMPTS), atol=1e-4)
