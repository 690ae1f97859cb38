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
from PIL import Image, ImageCms, PngImagePlugin

from prefgen.errors import ImageError
from prefgen.history import UserHistory
from prefgen.images import MAX_EDGE, read_image
from prefgen.profile import StoredImage
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


def both_readings(path):
    """The file as the library reads it, and as a profile stores it, both as arrays (H, W, 3) of 8 bits."""
    read = (read_image(path).permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
    return read, np.asarray(StoredImage.read(path).image)


def large_texts():
    info = PngImagePlugin.PngInfo()
    info.add_text("prompt", "x" * 3_000_000, zip=True)
    info.add_itxt("workflow", "y" * 3_000_000, zip=True)
    return info


@pytest.mark.parametrize("extra", ["icc", "texts"])
def test_png_with_large_metadata_is_read(tmp_path, photo, extra):
    """ComfyUI itself writes workflows into PNGs."""
    options = {"icc_profile": os.urandom(2_000_000)} if extra == "icc" else {"pnginfo": large_texts()}
    for image in both_readings(saved(tmp_path, photo, "large.png", **options)):
        assert np.array_equal(image, np.asarray(photo))


@pytest.mark.parametrize("progressive", [False, True])
def test_jpeg_without_its_end_marker_is_read(tmp_path, photo, progressive):
    path = saved(tmp_path, photo.resize((320, 200)), "whole.jpg", progressive=progressive)
    cut = tmp_path / "cut.jpg"
    cut.write_bytes(path.read_bytes()[:-2])
    for whole, image in zip(both_readings(path), both_readings(cut), strict=True):
        assert np.array_equal(whole, image)


@pytest.mark.parametrize("missing", [40, 400, 4000])
def test_jpeg_without_pixels_is_refused(tmp_path, photo, missing):
    path = saved(tmp_path, photo.resize((640, 400)), "cut.jpg", quality=95)
    path.write_bytes(path.read_bytes()[:-missing])
    with pytest.raises(ImageError, match="could not be read as an image"):
        read_image(path)
    with pytest.raises(ImageError, match="could not be read as an image"):
        StoredImage.read(path)


def test_integers_of_unknown_range_are_refused(tmp_path):
    values = np.linspace(0, 2**31 - 1, 64, dtype=np.int32).reshape(8, 8)
    path = saved(tmp_path, Image.fromarray(values), "deep.tiff")
    with pytest.raises(ImageError, match="32-bit integers of unknown range; save it with 8 or 16 bits"):
        read_image(path)
    with pytest.raises(ImageError, match="32-bit integers of unknown range"):
        StoredImage.read(path)


FORMATS = {
    "png": ("1", "L", "P", "LA", "RGB", "RGBA", "I;16"),
    "tiff": ("1", "L", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "I;16", "F"),
    "jpg": ("L", "RGB", "CMYK", "YCbCr"),
    "webp": ("L", "RGB", "RGBA"),
    "gif": ("L", "P"),
    "bmp": ("1", "L", "P", "RGB"),
    "ppm": ("1", "L", "RGB", "I"),
    "tga": ("L", "P", "LA", "RGB", "RGBA"),
    "jp2": ("L", "LA", "RGB", "RGBA", "I;16"),
    "ico": ("RGBA",),
    "pcx": ("1", "L", "P", "RGB"),
    "sgi": ("L", "RGB", "RGBA"),
    "dds": ("L", "RGB", "RGBA"),
    "avif": ("RGB", "RGBA"),
}
"""Modes that Pillow writes in each format without a loss of brightness."""
REFUSED = [("tiff", "F")]
PROFILES = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")


@pytest.mark.parametrize(("ending", "mode"), [(ending, mode) for ending, modes in FORMATS.items() for mode in modes])
def test_every_format_and_mode_is_right_or_refused(tmp_path, ending, mode):
    """A grey ramp is read as such, with the losses of its format, or refused with one sentence."""
    ramp = Image.fromarray(np.tile(np.linspace(0, 255, 64, dtype=np.uint8), (64, 1)))
    if mode.startswith("I"):
        image = Image.fromarray(np.asarray(ramp).astype(np.uint16) * 257).convert(mode)
    else:
        image = ImageCms.profileToProfile(ramp.convert("RGB"), *PROFILES, outputMode="LAB") if mode == "LAB" else ramp
        image = image if mode == "LAB" else ramp.convert("RGB").convert(mode)
    path = saved(tmp_path, image, f"ramp.{ending}")
    if (ending, mode) in REFUSED:
        with pytest.raises(ImageError, match=r"could not be read as an image \(.+\)\. Replace or remove the file\."):
            read_image(path)
        return
    read = read_image(path).mean(0).numpy() * 255
    dithered = mode in ("1", "P")
    blur = (lambda values: values.reshape(8, 8, 8, 8).mean((1, 3))) if dithered else np.asarray
    assert np.abs(blur(read) - blur(np.asarray(ramp, dtype=float))).max() < (30 if dithered else 12)
