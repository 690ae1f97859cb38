"""Preprocessing against transformers' own image processor for Idefics2, fast and PIL, on the same pixels."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from prefgen.errors import CheckpointError
from prefgen.prefdisc.model import PrefDisc
from prefgen.prefdisc.pixels import fitted_size, preprocess, shrink
from tests.prefgen import tiny

REAL = replace(tiny.SPEC, longest_edge=448, shortest_edge=378)  # paper index section 2
POCKET = replace(tiny.SPEC, longest_edge=96, shortest_edge=96)
SIZES = [(512, 512), (640, 360), (301, 977), (378, 448), (40, 33), (1, 1), (12, 1500), (449, 448)]  # height, width


def processor(name, spec):
    import transformers

    size = {"longest_edge": spec.longest_edge, "shortest_edge": spec.shortest_edge}
    return getattr(transformers, name)(size=size, do_image_splitting=False, image_mean=spec.mean, image_std=spec.std)


def drawn(height, width):
    """Noise with coarse structure, 8 bits: uint8 (H, W, 3)."""
    rng = np.random.default_rng(height * width)
    coarse = Image.fromarray(rng.integers(0, 256, (5, 7, 3), dtype=np.uint8)).resize((width, height))
    return np.clip(np.asarray(coarse).astype(int) + rng.integers(-40, 40, (height, width, 3)), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("spec", [REAL, POCKET], ids=["448", "96"])
@pytest.mark.parametrize("name", ["Idefics2ImageProcessor", "Idefics2ImageProcessorPil"])
def test_equal_to_the_base_models_processor(spec, name):
    """On 8-bit images it rounds to 8 bits after resizing, PIL twice (across, then down), half a level each time, and
    PIL's own weights have 8 bits too: so one level and a half, 1.5 / 255 / std. On floats nothing is rounded."""
    theirs = processor(name, spec)
    for size in SIZES:
        image = drawn(*size)
        ours = preprocess(torch.from_numpy(image).movedim(-1, 0)[None].float() / 255, spec)
        expected = theirs([[Image.fromarray(image)]], return_tensors="pt")["pixel_values"][0]
        assert ours.shape == expected.shape, size
        assert (ours - expected).abs().max() <= 1.5 / 255 / 0.5 + 1e-6, size
        assert (ours - expected).abs().mean() <= 0.5 / 255 / 0.5, size


def test_equal_on_floats_where_nothing_is_rounded():
    theirs = processor("Idefics2ImageProcessor", REAL)
    for size in SIZES:
        image = torch.from_numpy(drawn(*size)).movedim(-1, 0).float() / 255
        expected = theirs([[image]], do_rescale=False, return_tensors="pt")["pixel_values"][0]
        # float32, of values within [-1, 1]
        assert (preprocess(image[None], REAL) - expected).abs().max() < 1e-5, size


def test_features_of_an_odd_image_are_the_base_models_own():
    """The rim that is less than a patch: the base's pixel mask hides it, in whatever batch it is padded; so do we."""
    spec = replace(tiny.SPEC, longest_edge=24, shortest_edge=14)
    model = PrefDisc(tiny.prefdisc().base, tiny.tokenizer(), spec)
    shapes = [(50, 36), (24, 24), (31, 64)]  # read at 24 x 17, 24 x 24 and 14 x 24
    images = [torch.from_numpy(drawn(*shape)).movedim(-1, 0).float() / 255 for shape in shapes]
    given = processor("Idefics2ImageProcessor", spec)([images], do_rescale=False, return_tensors="pt")
    with torch.no_grad():
        theirs = model.base.model.get_image_features(given["pixel_values"], given["pixel_attention_mask"])
        ours = torch.cat([model.features(image[None]) for image in images]).flatten(0, 1)
    assert fitted_size(50, 36, spec) == (24, 17)
    # float32 through two layers and the perceiver, weights six times the usual, and another order of summing
    assert torch.allclose(ours, theirs.pooler_output[0], atol=1e-4)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((24, 24), (24, 24)),
        ((512, 512), (24, 24)),
        ((512, 256), (24, 12)),  # the aspect is kept
        ((12_000, 16), (24, 6)),  # no edge below the shortest
        ((1, 1), (6, 6)),
        ((13, 13), (13, 13)),  # never enlarged but to the shortest edge
    ],
)
def test_the_size_an_image_is_read_at(size, expected):
    assert fitted_size(*size, tiny.SPEC) == expected


def test_a_square_spec_reads_every_image_square():
    assert fitted_size(100, 37, replace(tiny.SPEC, shortest_edge=24)) == (24, 24)


def test_every_pixel_has_a_gradient():
    images = torch.rand(2, 3, 50, 40, requires_grad=True)
    pixels = preprocess(images, tiny.SPEC)
    assert pixels.shape == (2, 3, 24, 19)
    assert pixels.mean().item() == pytest.approx(0, abs=0.1)
    (gradient,) = torch.autograd.grad(pixels.sum(), images)
    assert (gradient > 0).all()


@pytest.mark.parametrize("size", [(9, 7), (3, 4), (5, 40)])
def test_the_gradient_is_the_true_one(size):
    images = torch.rand(1, 3, *size, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: preprocess(x, tiny.SPEC), images)


@pytest.mark.parametrize("name", ["shortest_edge", "square"])
def test_images_smaller_than_a_patch_are_no_spec(name):
    with pytest.raises(CheckpointError, match=f"{name} is 4; expected at least"):
        PrefDisc(tiny.prefdisc().base, tiny.tokenizer(), replace(tiny.SPEC, **{name: 4}))


@pytest.mark.parametrize("square", [0, 512])
@pytest.mark.parametrize("size", [*SIZES, (1024, 1024), (256, 256)])
def test_rounded_pixels_are_pillows_to_the_bit(size, square):
    """As published: an optional bicubic square first, then the processor's bilinear size, 8 bits after each."""
    spec, image = replace(REAL, square=square, rounded=True), Image.fromarray(drawn(*size))
    read = image.resize((square, square)) if square else image
    height, width = fitted_size(read.height, read.width, spec)
    expected = torch.from_numpy(np.array(read.resize((width, height), Image.BILINEAR))).movedim(-1, 0)
    pixels = torch.from_numpy(np.array(image)).movedim(-1, 0)[None].float() / 255
    levels = (preprocess(pixels, spec)[0] * 0.5 + 0.5) * 255
    assert torch.equal(levels.round(), expected.float())
    assert (levels - levels.round()).abs().max() < 1e-3
    assert torch.equal(preprocess(shrink(pixels, spec), spec), preprocess(pixels, spec))


@pytest.mark.parametrize("square", [0, 20])
def test_rounding_keeps_the_gradient_of_the_unrounded_image(square):
    smooth, images = replace(tiny.SPEC, square=square), torch.rand(2, 3, 30, 41, requires_grad=True)
    rounded = replace(smooth, rounded=True)
    weights = torch.rand_like(preprocess(images, smooth))
    ours, expected = (
        torch.autograd.grad((preprocess(images, s) * weights).sum(), images)[0] for s in (rounded, smooth)
    )
    assert torch.allclose(ours, expected, atol=1e-6)
    with torch.no_grad():
        assert torch.equal(preprocess(images, rounded), preprocess(images.detach(), rounded))
    assert torch.allclose(preprocess(images, rounded), preprocess(images.detach(), rounded), atol=1e-6)


def test_a_square_comes_before_everything():
    """Square images of any shape are then read at one size."""
    spec = replace(REAL, square=512)
    assert preprocess(torch.rand(1, 3, 300, 900), spec).shape == (1, 3, 448, 448)
    assert preprocess(torch.rand(1, 3, 300, 900), REAL).shape == (1, 3, 378, 448)
