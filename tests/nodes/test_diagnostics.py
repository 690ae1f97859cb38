"""Notices and errors of an optimisation: blur is told from detail, an allocator's error from any other."""

import pytest
import torch
import torch.nn.functional as F


def test_blurred_latents_are_told_from_sharp_ones(pack):
    describe_blur = pack("nodes.sampling.diagnostics.blurry_images").describe_blur
    torch.manual_seed(0)
    sharp = torch.randn(2, 4, 32, 32)
    soft = F.interpolate(torch.randn(2, 4, 4, 4), size=(32, 32), mode="bicubic")
    assert describe_blur(sharp, 1) == ""
    assert "after 2 steps are blurry" in describe_blur(soft, 2)
    assert "after 1 step are blurry" in describe_blur(0.1 * sharp, 1)
    assert describe_blur(torch.zeros(1, 4, 1, 1), 1) == "", "of so few cells nothing can be said"


def test_only_an_allocators_errors_are_turned_into_advice(pack):
    explain_out_of_memory = pack("nodes.sampling.diagnostics.out_of_memory").explain_out_of_memory
    for error in (torch.OutOfMemoryError("CUDA out of memory."), MemoryError(), RuntimeError("can't allocate memory")):
        with (
            pytest.raises(ValueError, match=r"not enough memory for a picture .*\. Lower its size\."),
            explain_out_of_memory("a picture", "Lower its size."),
        ):
            raise error
    with pytest.raises(RuntimeError, match="another thing"), explain_out_of_memory("a picture", "Lower its size."):
        raise RuntimeError("another thing")
