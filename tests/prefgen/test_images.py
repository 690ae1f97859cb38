"""Image files, good and bad: each is read as what one sees, or refused with one sentence."""

import contextlib
import os
import random
import struct
import warnings
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from prefgen.errors import ImageError
from prefgen.history import UserHistory
from prefgen.images import MAX_EDGE, read_image
from tests.prefgen import tiny


@pytest.fixture(scope="module")
def photo():
    """Something of every brightness, 40 x 24."""
    rng = np.random.default_rng(0)
    return Image.fromarray(rng.integers(0, 256, (5, 8, 3), dtype=np.uint8)).resize((40, 24))


def saved(tmp_path, image, name, **options):
    image.save(tmp_path / name, **options)
    return tmp_path / name


def pixel(image, y=0, x=0):
    return [round(value, 3) for value in image[:, y, x].tolist()]


def test_grey_of_16_bits_keeps_its_brightness(tmp_path):
    levels = np.array([[0, 257 * 51, 257 * 128, 65535]], dtype=np.uint16)
    for name in ("grey.png", "grey.tiff"):
        read = read_image(saved(tmp_path, Image.fromarray(levels), name))
        assert read.shape == (3, 1, 4)
        assert (read[0, 0] * 255).round().tolist() == [0, 51, 128, 255]


def test_cmyk_is_rgb(tmp_path):
    white, ink = Image.new("CMYK", (4, 4), (0, 0, 0, 0)), Image.new("CMYK", (4, 4), (0, 255, 255, 0))
    assert pixel(read_image(saved(tmp_path, white, "white.tiff"))) == [1, 1, 1]
    assert pixel(read_image(saved(tmp_path, ink, "red.tiff"))) == [1, 0, 0]
    assert read_image(saved(tmp_path, ink, "red.jpg")).shape == (3, 4, 4)


def test_a_palette_is_its_colours(tmp_path):
    image = Image.new("P", (3, 2), 1)
    image.putpalette([0, 0, 0, 255, 102, 0])
    assert pixel(read_image(saved(tmp_path, image, "palette.png"))) == [1, 0.4, 0]
    assert pixel(read_image(saved(tmp_path, image, "palette.gif", transparency=0))) == [1, 0.4, 0]


def test_transparency_is_left_out(tmp_path):
    image = Image.new("RGBA", (3, 2), (255, 102, 0, 7))
    for name in ("alpha.png", "alpha.webp"):
        options = {"lossless": True, "exact": True} if name.endswith("webp") else {}
        assert pixel(read_image(saved(tmp_path, image, name, **options))) == [1, 0.4, 0]


@pytest.mark.parametrize("name", ["turned.jpg", "turned.png", "turned.tiff", "turned.webp"])
@pytest.mark.parametrize(("orientation", "corner"), [(1, (0, 0)), (3, (23, 39)), (6, (0, 23)), (8, (39, 0))])
def test_a_rotated_photo_is_turned_upright(tmp_path, orientation, corner, name):
    image = Image.new("RGB", (40, 24))
    image.paste((255, 0, 0), (0, 0, 8, 8))
    exif = Image.Exif()
    exif[0x0112] = orientation
    read = read_image(saved(tmp_path, image, name, exif=exif, quality=95))
    assert read.shape == ((3, 40, 24) if orientation in (6, 8) else (3, 24, 40))
    assert read[0, corner[0], corner[1]] > 0.9
    assert read[0].sum() < 100, "only the corner is red"


def test_a_broken_exif_block_is_no_broken_image(tmp_path, photo):
    path = saved(tmp_path, photo, "exif.jpg", exif=b"Exif\x00\x00II*\x00\xff\xff\xff\xff")
    assert read_image(path).shape == (3, 24, 40)


def test_floats_are_refused(tmp_path):
    path = saved(tmp_path, Image.fromarray(np.ones((4, 4), np.float32)), "float.tiff")
    with pytest.raises(ImageError, match="32-bit floats"):
        read_image(path)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp", "a.gif", "a.bmp", "a.tiff"])
def test_cut_and_flipped_files_are_read_or_refused(tmp_path, photo, name):
    """Never another error, whatever the bytes; a file that lost its end is refused."""
    whole = saved(tmp_path, photo, name).read_bytes()
    broken = tmp_path / f"broken_{name}"
    chance = random.Random(1)
    for _ in range(60):
        data = bytearray(whole)
        for _ in range(chance.randint(1, 8)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        broken.write_bytes(data[: chance.choice([len(data), chance.randrange(len(data))])])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with contextlib.suppress(ImageError):
                assert torch.isfinite(read_image(broken)).all()
    for kept in (0, 1, 20, len(whole) // 2):
        broken.write_bytes(whole[:kept])
        with pytest.raises(ImageError, match="could not be read as an image"):
            read_image(broken)


def test_no_image_at_all(tmp_path):
    (tmp_path / "text.png").write_text("not an image")
    for path in (tmp_path / "text.png", tmp_path / "none.png", tmp_path):
        with pytest.raises(ImageError, match="could not be read"):
            read_image(path)


@pytest.mark.timeout(60)
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(ImageError, match=r"pipe\.png could not be read as an image .it is not a regular file"):
        read_image(tmp_path / "pipe.png")


def test_a_bomb_is_refused_before_it_unpacks(tmp_path):
    """A PNG of a few bytes that says it has 40,000 x 40,000 pixels."""
    head = struct.pack(">IIBBBBB", 40_000, 40_000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", len(head)) + b"IHDR" + head + struct.pack(">I", zlib.crc32(b"IHDR" + head))
    (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk)
    with pytest.raises(ImageError, match=r"bomb\.png could not be read"):
        read_image(tmp_path / "bomb.png")


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("name", ["wide.png", "wide.jpg"])
def test_images_of_12_000_pixels_are_read_smaller(tmp_path, name):
    image = Image.new("RGB", (12_000, 600), (255, 102, 0))
    image.paste((0, 0, 255), (6_000, 0, 12_000, 600))
    read = read_image(saved(tmp_path, image, name))
    assert read.shape[2] == MAX_EDGE
    assert read.shape[1] == pytest.approx(600 * MAX_EDGE / 12_000, abs=1)
    assert pixel(read, 50, 10) == pytest.approx([1, 0.4, 0], abs=0.01)
    assert pixel(read, 50, MAX_EDGE - 10) == pytest.approx([0, 0, 1], abs=0.01)


def test_one_pixel_and_12_000_make_a_history_that_scores(tmp_path):
    pixels = saved(tmp_path, Image.new("RGB", (1, 1), (9, 99, 200)), "one.png")
    long = saved(tmp_path, Image.new("RGB", (3, 12_000), (200, 99, 9)), "long.png")
    model = tiny.prefdisc().requires_grad_(False)
    liked, disliked = read_image(pixels), read_image(long)
    history = UserHistory.from_images(liked[None], disliked[None])
    scores = model.score(model.encode(history), torch.rand(1, 3, 12_000, 2))
    assert torch.isfinite(scores).all()
    assert not torch.equal(scores, model.score(None, torch.rand(1, 3, 12_000, 2)))
    assert torch.isfinite(model.score(model.encode(history), liked[None])).all()
