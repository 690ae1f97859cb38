"""A profile as a history: what is chosen, what is read, and what it costs."""

import json
import random
import time
import tracemalloc

import pytest
import torch

from prefgen.errors import HistoryError, ImageError, ProfileError, ProfileNotFoundError
from prefgen.history import LikedImages
from prefgen.profile import Profiles, SelectionConfig, read_history, select_history
from tests.prefgen.profiles import digest, ratings_file, stored_image


@pytest.fixture
def me(tmp_path):
    return Profiles(tmp_path).profile("me")


def pixels(number):
    return stored_image(number).image.getpixel((0, 0))


def colour(image):
    return tuple(round(value * 255) for value in image[:, 0, 0].tolist())


def test_ratings_become_a_history_of_the_images_themselves(me):
    me.rate_all([(stored_image(1), True), (stored_image(2), False)], "a cat")
    me.rate_all([(stored_image(3), True), (stored_image(4), False)], "a dog")
    history = read_history(me, select_history(me, SelectionConfig()))
    assert (history.name, [pair.prompt for pair in history.pairs]) == ("me", ["a cat", "a dog"])
    assert [(colour(pair.liked), colour(pair.disliked)) for pair in history.pairs] == [
        (pixels(1), pixels(2)),
        (pixels(3), pixels(4)),
    ]
    assert history.pairs[0].liked.shape == (3, 8, 12)


def test_likes_alone_are_liked_images_and_no_history(me):
    me.rate_all([(stored_image(1), True), (stored_image(2), True)])
    found = read_history(me, select_history(me, SelectionConfig()))
    assert isinstance(found, LikedImages)
    assert [colour(image) for image in found.liked_images] == [pixels(1), pixels(2)]
    with pytest.raises(HistoryError, match=r"'me' has 2 likes and no dislikes.*Dislike at least one image"):
        _ = found.pairs
    with pytest.raises(HistoryError):
        bool(found)  # never mistaken for no history at all
    me.rate(stored_image(3), False)
    history = read_history(me, select_history(me, SelectionConfig()))
    assert [colour(pair.disliked) for pair in history.pairs] == [pixels(3)] * 2


def test_a_missing_image_is_skipped_and_logged_only_when_the_history_is_read(me, caplog):
    me.rate_all([(stored_image(1), True), (stored_image(2), False)], "a cat")
    me.rate_all([(stored_image(3), True), (stored_image(4), False)], "a dog")
    me.image_path(stored_image(3).digest).unlink()
    selection = select_history(me, SelectionConfig())
    assert not caplog.messages, "ComfyUI selects at every queue, also when nothing changed"
    history = read_history(me, selection)
    assert {colour(pair.liked) for pair in history.pairs} == {pixels(1)}
    assert caplog.messages == ["Profile 'me': skipped 1 ratings whose image is missing."]


def test_dislikes_alone_say_what_is_missing(me):
    with pytest.raises(ProfileNotFoundError, match="'me' has no ratings"):
        select_history(me, SelectionConfig())
    me.rate(stored_image(1), False)
    with pytest.raises(ProfileError, match=r"'me' has 1 dislikes and no likes"):
        select_history(me, SelectionConfig())


def test_the_choice_changes_only_when_the_history_does(me):
    me.rate_all([(stored_image(1), True), (stored_image(2), False)], "a cat")
    me.rate_all([(stored_image(3), True), (stored_image(4), False)], "a dog")
    latest = select_history(me, SelectionConfig(1)).digest
    me.undo(stored_image(1).digest)
    assert select_history(me, SelectionConfig(1)).digest == latest, "an old pair that is not among the latest"
    me.rate(stored_image(5), True, "a dog")
    assert select_history(me, SelectionConfig(1)).digest != latest
    me.undo()
    assert select_history(me, SelectionConfig(1)).digest == latest, "and back again"


def test_an_image_that_is_gone_is_left_out(me):
    me.rate_all([(stored_image(number), number < 2) for number in range(4)])
    me.image_path(stored_image(3).digest).unlink()
    assert {image for pair in select_history(me, SelectionConfig()).items for image in pair.images} == {
        stored_image(number).digest for number in range(3)
    }


def test_a_broken_image_is_named(me):
    me.rate_all([(stored_image(1), True), (stored_image(2), False)])
    me.image_path(stored_image(2).digest).write_bytes(b"RIFF")
    with pytest.raises(ImageError, match=stored_image(2).digest):
        read_history(me, select_history(me, SelectionConfig()))


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """10,000 ratings of images that cannot even be opened."""
    me = Profiles(tmp_path_factory.mktemp("profiles")).profile("me")
    me.images.mkdir(parents=True)
    dice = random.Random(0)
    with ratings_file(me).open("w") as file:
        file.write('{"prefgen_profile": 1, "id": "0123456789abcdef01234567"}\n')
        for number in range(10_000):
            image, look = digest(number), f"{dice.getrandbits(192):048x}"
            line = {"time": 1.7e9 + number, "image": image, "liked": number % 3 > 0, "prompt": f"prompt {number // 4}"}
            file.write(json.dumps(line | {"look": look}) + "\n")
            (me.images / f"{image}.webp").touch()
    return me


def test_ten_thousand_ratings_load_at_once(large):
    """0.06 s of one processor where this was written; other work on the machine is not counted."""
    taken = []
    for _ in range(3):
        fresh = Profiles(large.profiles.root).profile("me")
        began = time.process_time()
        assert len(fresh.ratings) == 10_000
        taken.append(time.process_time() - began)
    assert min(taken) < 0.2


@pytest.mark.parametrize("rule", ["latest", "diverse", "same prompt"])
def test_eight_of_ten_thousand_are_chosen_without_opening_an_image(large, rule):
    assert len(select_history(large, SelectionConfig(8, rule, 1.0)).items) == 8


def test_memory_follows_the_pairs_and_not_the_images(me):
    """40 images of 3 MB as tensors; a history of one pair holds two of them."""
    for number in range(20):
        me.rate_all([(stored_image(2 * number, (512, 512)), True), (stored_image(2 * number + 1, (512, 512)), False)])
    fresh = Profiles(me.profiles.root).profile("me")
    tracemalloc.start()
    history = read_history(fresh, select_history(fresh, SelectionConfig(1)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert torch.stack([history.pairs[0].liked]).shape == (1, 3, 512, 512)
    one = 512 * 512 * 3 * 4
    assert peak < 6 * one, "two images, and what unpacking one takes for a moment"
