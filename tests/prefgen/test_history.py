import json

import pytest
import torch
from PIL import Image

from prefgen.errors import HistoryError, ImageError
from prefgen.history import LikedImages, PreferencePair, UserHistory


@pytest.fixture
def folder(tmp_path):
    """A person of two pairs on disk."""
    for i in range(2):
        for side, value in (("liked", 200), ("disliked", 40)):
            Image.new("RGB", (12, 8), (value, i, 0)).save(tmp_path / f"{side}_{i}.png")
    pairs = [{"liked": f"liked_{i}.png", "disliked": f"disliked_{i}.png", "prompt": "a cat"} for i in range(2)]
    (tmp_path / "pairs.json").write_text(json.dumps({"name": "ada", "pairs": pairs}))
    return tmp_path


def rewrite(folder, **changes):
    described = json.loads((folder / "pairs.json").read_text())
    described["pairs"][0] |= changes
    (folder / "pairs.json").write_text(json.dumps(described))


def test_a_folder_becomes_a_history(folder):
    history = UserHistory.from_folder(folder)
    assert (history.name, len(history)) == ("ada", 2)
    assert history.pairs[1].prompt == "a cat"
    assert history.pairs[1].liked.shape == (3, 8, 12)
    assert history.pairs[1].liked[:, 0, 0].tolist() == pytest.approx([200 / 255, 1 / 255, 0])


def test_the_digest_follows_pixels_prompts_and_order(folder):
    history = UserHistory.from_folder(folder)
    again = UserHistory.from_folder(folder)
    turned = UserHistory(history.pairs[::-1])
    first = history.pairs[0]
    renamed = UserHistory((PreferencePair(first.liked, first.disliked, "a dog"), history.pairs[1]))
    assert history.digest == again.digest
    assert len({history.digest, turned.digest, renamed.digest}) == 3


def test_a_folder_may_not_name_files_outside(folder):
    rewrite(folder, liked="../secret.png")
    with pytest.raises(HistoryError, match="expected a file inside"):
        UserHistory.from_folder(folder)


def test_a_name_that_no_file_can_have_and_half_a_character_are_refused(folder):
    rewrite(folder, liked="a\0b")
    with pytest.raises(HistoryError, match="expected a file inside"):
        UserHistory.from_folder(folder)
    rewrite(folder, liked="liked_0.png", prompt="\ud800")
    with pytest.raises(HistoryError, match="unpaired surrogate"):
        UserHistory.from_folder(folder)


def test_no_prompt_is_an_empty_one(folder):
    rewrite(folder, prompt=None)
    assert UserHistory.from_folder(folder).pairs[0].prompt == ""


@pytest.mark.parametrize(
    "text", [pytest.param("[" * 100_000, id="deep"), "{", "[]", '{"pairs": [{}]}', '{"pairs": 3}', '{"name": "x"}']
)
def test_a_malformed_listing_says_what_it_should_be(folder, text):
    (folder / "pairs.json").write_text(text)
    with pytest.raises(HistoryError, match="is not a list of pairs"):
        UserHistory.from_folder(folder)


def test_a_missing_listing_and_a_broken_image_are_named(folder, tmp_path):
    with pytest.raises(HistoryError, match=r"pairs\.json could not be read"):
        UserHistory.from_folder(tmp_path / "nowhere")
    (folder / "liked_0.png").write_bytes((folder / "liked_0.png").read_bytes()[:40])
    with pytest.raises(ImageError, match=r"liked_0\.png could not be read"):
        UserHistory.from_folder(folder)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "I;16"])
def test_images_of_other_modes_are_read_as_rgb(folder, mode):
    kind = "tiff" if mode in ("CMYK", "I;16") else "png"
    Image.new(mode, (12, 8)).save(folder / f"odd.{kind}")
    rewrite(folder, liked=f"odd.{kind}")
    assert UserHistory.from_folder(folder).pairs[0].liked.shape == (3, 8, 12)


def test_batches_are_paired_by_place():
    liked, disliked = torch.rand(3, 3, 4, 4), torch.rand(3, 3, 6, 6)
    history = UserHistory.from_images(liked, disliked, ["a cat"])
    assert [pair.prompt for pair in history.pairs] == ["a cat"] * 3
    assert torch.equal(history.pairs[2].disliked, disliked[2])


@pytest.mark.parametrize(
    ("liked", "disliked", "prompts", "message"),
    [
        (0, 0, None, "has no pairs; expected at least one"),
        (2, 3, None, "Found 2 liked and 3 disliked images"),
        (0, 3, None, "Found 0 liked and 3 disliked images"),
        (3, 3, ["a", "b"], "There are 2 prompts; expected 3"),
    ],
)
def test_batches_that_do_not_pair_are_refused(liked, disliked, prompts, message):
    with pytest.raises(HistoryError, match=message):
        UserHistory.from_images(torch.rand(liked, 3, 4, 4), torch.rand(disliked, 3, 4, 4), prompts)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (torch.rand(4, 4), r"has shape \(4, 4\); expected \(3, height, width\)"),
        (torch.rand(1, 4, 4), "has shape .1, 4, 4.; expected"),
        (torch.rand(3, 0, 4), "not empty"),
        (torch.full((3, 4, 4), float("nan")), "has NaN"),
        (torch.zeros(3, 4, 4, dtype=torch.uint8), "Divide 8-bit values by 255"),
        ("cat.png", "has shape"),
    ],
)
def test_images_that_cannot_be_used_are_refused(image, message):
    with pytest.raises(ImageError, match=message):
        PreferencePair(torch.rand(3, 4, 4), image)


def test_liked_images_are_no_history():
    """They may stand where one is expected, and whoever asks them for pairs is told what is missing."""
    images = torch.rand(2, 3, 4, 4)
    liked = LikedImages(tuple(images), "ada")
    for asked in (len, bool, lambda it: it.pairs):
        with pytest.raises(HistoryError, match="'ada' has 2 likes and no dislikes"):
            asked(liked)
    assert liked.digest == LikedImages(tuple(images.clone())).digest
    assert liked.digest != LikedImages(tuple(images.flip(0))).digest
    with pytest.raises(HistoryError, match="'ada' has no liked images"):
        LikedImages((), "ada")
