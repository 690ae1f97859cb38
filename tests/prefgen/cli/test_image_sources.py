"""Candidates out of folders: names, prompts, and the size at which PrefDisc reads them."""

import os
import weakref
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from prefgen.cli.errors import CommandError
from prefgen.cli.image_sources import PREFETCHED_BATCHES, EncodedImage, decode, decode_batches, open_source
from prefgen.images import read_image
from prefgen.prefdisc.pixels import preprocess
from tests.prefgen import tiny
from tests.prefgen.cli import material


def test_captions_stand_beside_their_images(tmp_path):
    for name in ("b.png", "a.JPG", ".hidden.png", "notes.md"):
        Image.new("RGB", (8, 8)).save(tmp_path / name, format="PNG")
    (tmp_path / ".cache").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / ".cache" / "thumbnail.png")
    (tmp_path / "b.txt").write_text(" a red house \n")
    source = open_source(tmp_path, prompt="a cat", captions=True)
    assert list(source.names) == ["a.JPG", "b.png"]
    assert [found.prompt for found in source.read([1, 0])] == ["a red house", "a cat"]
    assert [found.prompt for found in open_source(tmp_path, prompt="a cat").read([0, 1])] == ["a cat", "a cat"]


@pytest.mark.parametrize(
    "data",
    [
        b"\xef\xbb\xbfa caf\xc3\xa9\r\n",
        "a caf\u00e9".encode("utf-16"),
        b"\xfe\xff" + "a caf\u00e9".encode("utf-16-be"),
        "a caf\u00e9".encode("utf-32"),
    ],
)
def test_captions_with_a_byte_order_mark(tmp_path, data):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    (tmp_path / "a.txt").write_bytes(data)
    (found,) = open_source(tmp_path, captions=True).read([0])
    assert found.prompt == "a caf\u00e9"


def test_a_caption_that_is_no_text_is_an_error_of_its_image(tmp_path):
    for name in ("a", "b"):
        Image.new("RGB", (8, 8)).save(tmp_path / f"{name}.png")
    (tmp_path / "a.txt").write_bytes(b"caf\xe9")
    first, second = (decode(found, tiny.SPEC) for found in open_source(tmp_path, captions=True).read([0, 1]))
    assert (first.image, first.prompt) == (None, "")
    assert "The caption a.txt cannot be read" in first.error
    assert second.error is None


def test_a_folder_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    material.write_images(tmp_path, 5)
    scandir = os.scandir

    def refused(path):
        if Path(path).name == "deep":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refused)
    with pytest.raises(CommandError, match=r"deep cannot be read .Permission denied"):
        open_source(tmp_path)


def test_links_to_folders_are_not_followed_and_broken_ones_are_missed(tmp_path):
    material.write_images(tmp_path / "real", 5)
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "linked").symlink_to(tmp_path / "real")
    (tmp_path / "set" / "a.png").symlink_to(tmp_path / "real" / "01.png")
    (tmp_path / "set" / "gone.png").symlink_to("nowhere.png")
    (tmp_path / "set" / "round.png").symlink_to("round.png")
    source = open_source(tmp_path / "set")
    assert source.names == ["a.png", "gone.png", "round.png"]
    assert [decode(found, tiny.SPEC).error is None for found in source.read(range(3))] == [True, False, False]


@pytest.mark.parametrize("size", [(96, 96), (150, 120), (31, 200), (40, 17)])
@pytest.mark.parametrize("edges", [(48, 40), (24, 6), (40, 48)])
def test_the_pixels_are_those_of_prefdiscs_own_preprocessing(tmp_path, size, edges):
    spec = replace(tiny.SPEC, longest_edge=edges[0], shortest_edge=edges[1])
    path = tmp_path / "image.png"
    Image.effect_noise(size, 80).convert("RGB").save(path)
    candidate = decode(EncodedImage("image.png", path.read_bytes()), spec)
    assert torch.equal(preprocess(candidate.image[None], spec), preprocess(read_image(path)[None], spec))


@pytest.mark.parametrize("count", [200, 2000])
def test_however_many_images_a_few_batches_are_in_memory(count):
    """What is read and decoded waits for its turn, and goes; nothing grows with the number of images."""
    alive, most = weakref.WeakSet(), []

    class Kept(SimpleNamespace):
        __hash__ = object.__hash__

    def kept(place):
        one = Kept(name=str(place))
        alive.add(one)
        return one

    class Many:
        def read(self, places):
            return [kept(place) for place in places]

    batches = [range(at, at + 8) for at in range(0, count, 8)]
    seen = 0
    for batch in decode_batches(Many(), batches, lambda found: kept(found.name), workers=2):
        seen += len(batch)
        most.append(len(alive))
    assert seen == count
    # The batch at hand, those ahead and the one being read: undecoded and decoded of each.
    assert max(most) <= 2 * 8 * (PREFETCHED_BATCHES + 2)


def test_a_folder_of_two_kinds(tmp_path):
    material.write_images(tmp_path, 5)
    material.write_table(tmp_path / "people.parquet")
    with pytest.raises(CommandError, match="contains 5 images and 1 Parquet files"):
        open_source(tmp_path)
