"""The store: what was rated is there, whatever happens to the program, and nothing else is."""

import multiprocessing
import os
import time

import pytest

from prefgen.errors import NothingToUndoError, ProfileError, ProfileNotFoundError, ProfileUnavailableError
from prefgen.profile import Profiles
from prefgen.profile.lock import write_lock
from tests.prefgen.profiles import lines, ratings_file, stored_image


@pytest.fixture
def profiles(tmp_path):
    return Profiles(tmp_path / "profiles")


@pytest.fixture
def me(profiles):
    return profiles.profile("me")


def reopened(profile):
    """The same profile, as another program finds it."""
    return Profiles(profile.profiles.root).profile(profile.name)


def test_ratings_are_on_disk_one_a_line(me):
    me.rate(stored_image(1), True, "a cat")
    me.rate(stored_image(2), False)
    assert [(line["liked"], line["prompt"]) for line in lines(me)] == [(True, "a cat"), (False, "")]
    found = reopened(me).ratings
    assert [(rating.image, rating.liked) for rating in found] == [
        (stored_image(1).digest, True),
        (stored_image(2).digest, False),
    ]
    assert abs(found[0].time - time.time()) < 60
    assert me.image_path(stored_image(1).digest).read_bytes()[8:12] == b"WEBP"


def test_to_rate_again_changes_nothing_and_to_rate_otherwise_counts(me):
    first = me.rate(stored_image(1), True, "a cat")
    version = me.version
    assert me.rate(stored_image(1), True, "a cat") == first
    assert (len(lines(me)), me.version) == (1, version), "whoever had no answer may ask again"
    me.rate(stored_image(1).digest, False, "a cat")
    assert [rating.liked for rating in me.ratings] == [False]
    assert me.version != version


def test_undo_goes_back_step_by_step(me):
    me.rate(stored_image(1), True)
    me.rate(stored_image(2), True)
    me.rate(stored_image(1), False)
    taken, now = me.undo()
    assert (taken.image, taken.liked, now.liked) == (stored_image(1).digest, False, True)
    assert me.undo()[0].image == stored_image(2).digest
    assert me.undo(stored_image(1).digest)[1] is None
    assert reopened(me).ratings == me.ratings == []
    with pytest.raises(NothingToUndoError, match="'me' has no rating to undo"):
        me.undo()
    me.rate(stored_image(2).digest, False)  # the image is kept, for whoever thinks again
    assert [rating.liked for rating in me.ratings] == [False]


def test_an_image_is_left_unrated_whatever_it_was_before(me):
    for number, liked in ((1, True), (2, True), (1, False), (1, True)):
        me.rate(stored_image(number), liked)
    taken, now = me.undo(stored_image(1).digest, completely=True)
    assert (taken.liked, now) == (True, None)
    assert [rating.image for rating in reopened(me).ratings] == [stored_image(2).digest]


def test_a_batch_is_rated_as_one(me):
    with pytest.raises(ProfileNotFoundError, match=r"no image 'ffffff"):
        me.rate_all([(stored_image(1), True), ("f" * 64, False)])
    assert not me.ratings
    me.rate_all([(stored_image(1), True), (stored_image(2), False)], " a cat \n")
    assert [rating.prompt for rating in me.ratings] == ["a cat", "a cat"]


def test_two_stores_see_each_others_ratings(me):
    other = reopened(me)
    me.rate(stored_image(1), True)
    assert len(other.ratings) == 1
    other.rate(stored_image(2), True)
    other.undo(stored_image(1).digest)
    assert [rating.image for rating in me.ratings] == [stored_image(2).digest]


@pytest.mark.parametrize("cut", [1, 20, 100])
def test_half_a_line_costs_that_line(me, cut):
    """A crash at any byte: what was acknowledged before it is there, and what comes after it too."""
    for number in range(3):
        me.rate(stored_image(number), True)
    data = ratings_file(me).read_bytes()
    ratings_file(me).write_bytes(data[:-cut])
    again = reopened(me)
    assert [rating.image for rating in again.ratings] == [stored_image(0).digest, stored_image(1).digest]
    again.rate(stored_image(2), False)
    again.rate(stored_image(3), True)
    assert [rating.liked for rating in reopened(me).ratings] == [True, True, False, True]
    assert again.skipped == (cut > 1)  # with the line feed alone missing the line itself is whole


@pytest.mark.parametrize(
    "bad",
    [b"{", b"[]", b"\x00\xff" * 20, b'{"image": "../../etc", "liked": true, "time": 1}', b"[" * 5000, b"7"]
    + [b'{"image": "' + b"a" * 64 + b'", "liked": ' + rest for rest in (b'3, "time": 1}', b'true, "time": 1e999}')],
)
def test_lines_that_cannot_be_read_are_left_out_and_counted(me, bad):
    me.rate(stored_image(1), True)
    with ratings_file(me).open("ab") as file:
        file.write(bad + b"\n")
    me.rate(stored_image(2), False)
    assert (len(reopened(me).ratings), reopened(me).skipped) == (2, 1)


def test_a_newer_format_is_refused_by_name(me):
    me.rate(stored_image(1), True)
    ratings_file(me).write_text('{"prefgen_profile": 9}\n')
    with pytest.raises(ProfileError, match=r"has format 9; expected 1\. Update PrefGen"):
        _ = reopened(me).ratings


@pytest.mark.parametrize(
    "name",
    [
        *("", " ", ".", "..", "../me", "a/b", "a\\b", "/etc", "me.", ".me", "C:", "con", "NUL.txt", "a\0b", "a\nb"),
        *("x" * 65, "~", "%2e%2e", "a*", "me:stream", None, 3),
    ],
)
def test_names_that_could_leave_the_folder_are_refused(profiles, name):
    with pytest.raises(ProfileError, match="is not a profile name; expected up to 64 letters"):
        profiles.profile(name)


@pytest.mark.parametrize("name", ["me", "Ада", "花子 2", "v1.5", "a-b_c"])
def test_names_of_any_language_are_folders(profiles, name):
    profiles.profile(name).rate(stored_image(1), True)
    assert profiles.names() == [name]
    assert (profiles.root / name / "ratings.jsonl").is_file()


def test_a_name_that_is_taken_is_refused(tmp_path):
    with pytest.raises(ProfileError, match="'ADA' is a bundled user"):
        Profiles(tmp_path, reserved_names=["ada"]).profile("ADA")


def test_a_forgotten_image_leaves_no_trace(me):
    me.rate(stored_image(1), True, "a secret")
    me.rate(stored_image(2), True)
    me.rate(stored_image(1), False, "a secret")
    other = reopened(me)
    assert len(other.ratings) == 2
    (me.images / ".part").write_bytes(stored_image(1).digest.encode())  # as a writer leaves it that was killed
    me.forget_image(stored_image(1).digest)
    everything = b"".join(path.read_bytes() for path in me.folder.rglob("*") if path.is_file())
    assert stored_image(1).digest.encode() not in everything
    assert b"a secret" not in everything
    assert not [path for path in me.folder.rglob("*") if stored_image(1).digest in path.name]
    assert [rating.image for rating in other.ratings] == [stored_image(2).digest], "others notice that the file is new"
    with pytest.raises(ProfileNotFoundError, match="any more"):
        me.forget_image(stored_image(1).digest)


def test_a_forgotten_profile_is_gone_and_may_begin_anew(profiles, me):
    me.rate(stored_image(1), True)
    version = me.version
    profiles.forget("me")
    assert (profiles.names(), me.ratings) == ([], [])
    assert [path.name for path in profiles.root.iterdir()] == [".lock"]
    with pytest.raises(ProfileNotFoundError, match="There is no profile 'me'"):
        profiles.forget("me")
    me.rate(stored_image(2), True)
    assert [rating.image for rating in reopened(me).ratings] == [stored_image(2).digest]
    assert me.version != version


def test_a_clock_that_is_set_back_does_not_turn_the_order(me, monkeypatch):
    me.rate(stored_image(1), True)
    monkeypatch.setattr(time, "time", lambda: 1000.0)
    me.rate(stored_image(2), True)
    assert [rating.image for rating in me.ratings] == [stored_image(1).digest, stored_image(2).digest]


def test_a_writer_that_does_not_let_go_is_named(tmp_path):
    me = Profiles(tmp_path, lock_timeout=0.05).profile("me")
    with (
        write_lock(tmp_path / ".lock"),
        pytest.raises(ProfileUnavailableError, match=r"has been writing to .* for 0\.05 seconds"),
    ):
        me.rate(stored_image(1), True)
    me.rate(stored_image(1), True)


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ProfileUnavailableError, match=r"could not be created .* Allow ComfyUI to write to its folder"):
        Profiles(tmp_path / "file" / "profiles").profile("me").rate(stored_image(1), True)


def test_a_full_disk_leaves_what_was_there(me, monkeypatch):
    me.rate(stored_image(1), True)
    before = ratings_file(me).read_bytes()
    write = os.write

    def full(file, data):
        write(file, bytes(data[:10]))
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(ProfileUnavailableError, match="No space left on device"):
        me.rate(stored_image(1).digest, False)
    assert ratings_file(me).read_bytes() == before


def rate_many(root, first, count):
    me = Profiles(root).profile("me")
    for number in range(first, first + count):
        me.rate(stored_image(number), number % 2 == 0)


def test_two_writers_lose_and_double_nothing(profiles, me):
    """25 each here; `python -m benchmarks.rating_faults` does a thousand, and kills."""
    context = multiprocessing.get_context("fork" if os.name != "nt" else "spawn")
    writers = [context.Process(target=rate_many, args=(profiles.root, first, 25)) for first in (0, 15)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
        assert writer.exitcode == 0
    assert sorted(line["image"] for line in lines(me)) == sorted(stored_image(number).digest for number in range(40))
    assert me.skipped == 0
