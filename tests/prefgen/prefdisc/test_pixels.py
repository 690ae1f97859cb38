from dataclasses import replace

import pytest
import torch

from prefgen.prefdisc.pixels import fitted_size, preprocess
from tests.prefgen import tiny


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((24, 24), (24, 24)),
        ((512, 512), (24, 24)),
        ((512, 256), (24, 12)),  # the aspect is kept
        ((12_000, 16), (24, 6)),  # no edge below the shortest
        ((1, 1), (6, 6)),
        ((13, 13), (12, 12)),  # whole patches
    ],
)
def test_the_size_an_image_is_read_at(size, expected):
    assert fitted_size(*size, tiny.SPEC, patch=6) == expected


def test_a_square_spec_reads_every_image_square():
    square = replace(tiny.SPEC, shortest_edge=24)
    assert fitted_size(100, 37, square, patch=6) == (24, 24)


def test_pixels_are_normalised_and_every_one_counts():
    images = torch.rand(2, 3, 50, 40, requires_grad=True)
    pixels = preprocess(images, tiny.SPEC, patch=6)
    assert pixels.shape == (2, 3, 24, 18)
    assert pixels.mean().item() == pytest.approx(0, abs=0.1)
    (gradient,) = torch.autograd.grad(pixels.sum(), images)
    assert (gradient > 0).all()
