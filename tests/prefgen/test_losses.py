import math

import pytest
import torch

from prefgen.losses import base_loss, contrastive_preference, expected_pair_loss, mmd, preference_loss


def test_base_loss_is_the_mean_of_both_cross_entropies():
    liked, disliked = torch.tensor([[2.0, 0.0]]), torch.tensor([[1.0, 0.0]])
    expected = (math.log(1 + math.exp(-2)) + math.log(1 + math.e)) / 2
    assert base_loss(liked, disliked).item() == pytest.approx(expected)


def test_base_loss_over_the_vocabulary_counts_every_token():
    logits = torch.randn(4, 9)
    by_hand = -(logits.log_softmax(-1)[:, 7] + logits.log_softmax(-1)[:, 3]).mean() / 2
    assert torch.allclose(base_loss(logits, logits, labels=(7, 3)), by_hand)


def test_contrastive_preference_follows_both_equations():
    liked, disliked = torch.tensor([[1.5, 0.2]]), torch.tensor([[0.5, 0.9]])
    expected = math.log(1 + math.exp(-1.0)) + math.log(1 + math.exp(-0.7))
    assert contrastive_preference(liked, disliked).item() == pytest.approx(expected)


def test_preference_loss_is_the_sum_over_the_vocabulary_or_the_labels():
    liked, disliked = torch.randn(2, 4, 9)
    labels = (7, 3)
    contrast = contrastive_preference(liked[:, [7, 3]], disliked[:, [7, 3]])
    assert torch.allclose(preference_loss(liked, disliked, labels), base_loss(liked, disliked, labels) + contrast)
    assert torch.equal(preference_loss(liked, disliked, labels, contrastive=False), base_loss(liked, disliked, labels))
    two = preference_loss(liked[:, [7, 3]], disliked[:, [7, 3]])
    assert torch.allclose(two, base_loss(liked[:, [7, 3]], disliked[:, [7, 3]]) + contrast)
    assert two < preference_loss(liked, disliked, labels), "fewer tokens to choose from"


def test_expected_over_choice_is_the_loss_where_the_choice_is_sure():
    first, second = torch.randn(2, 5, 2)
    sure = expected_pair_loss(contrastive_preference, first, second, torch.ones(5))
    never = expected_pair_loss(contrastive_preference, first, second, torch.zeros(5))
    assert torch.allclose(sure, contrastive_preference(first, second))
    assert torch.allclose(never, contrastive_preference(second, first))


@pytest.mark.parametrize("kernel", ["rbf", "imq"])
def test_mmd_tells_crowds_apart(kernel):
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(2, 200, 8, generator=generator)
    same, moved = mmd(x, y, kernel, unbiased=True), mmd(x, y + 1, kernel, unbiased=True)
    assert abs(same) < 0.01 < moved
    assert mmd(x, x, kernel) == pytest.approx(0, abs=1e-6)


def test_mmd_has_a_gradient_even_where_samples_coincide():
    x = torch.zeros(4, 3, requires_grad=True)
    mmd(x, torch.randn(5, 3)).backward()
    assert torch.isfinite(x.grad).all()
    assert x.grad.abs().sum() > 0


@pytest.mark.parametrize("arguments", [(torch.randn(4, 3), torch.randn(4, 2)), (torch.randn(1, 3), torch.randn(4, 3))])
def test_mmd_refuses_what_cannot_be_compared(arguments):
    with pytest.raises(ValueError, match="Samples have shapes"):
        mmd(*arguments)
    with pytest.raises(ValueError, match="kernel is "):
        mmd(torch.randn(4, 3), torch.randn(4, 3), kernel="cubic")
