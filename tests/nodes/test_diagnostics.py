"""Notices and errors of an optimisation: blur is told from detail, an allocator's error from any other."""

import pytest
import torch
import torch.nn.functional as F


@pytest.fixture
def trouble(pack):
    return pack("nodes.sampling.diagnostics")


def test_blurred_latents_are_told_from_sharp_ones(trouble):
    torch.manual_seed(0)
    sharp = torch.randn(2, 4, 32, 32)
    soft = F.interpolate(torch.randn(2, 4, 4, 4), size=(32, 32), mode="bicubic")
    assert trouble.notice_of(sharp, 1) == ""
    assert "in 2 steps is soft" in trouble.notice_of(soft, 2)
    assert "in 1 step is soft" in trouble.notice_of(0.1 * sharp, 1)
    assert trouble.notice_of(torch.zeros(1, 4, 1, 1), 1) == "", "of so few cells nothing can be said"


def test_only_an_allocators_errors_are_turned_into_advice(trouble):
    for error in (torch.OutOfMemoryError("CUDA out of memory."), MemoryError(), RuntimeError("can't allocate memory")):
        with (
            pytest.raises(ValueError, match=r"not enough memory for a picture .*: lower its size\."),
            trouble.enough_memory("a picture", "lower its size"),
        ):
            raise error
    with pytest.raises(RuntimeError, match="another thing"), trouble.enough_memory("a picture", "lower its size"):
        raise RuntimeError("another thing")
