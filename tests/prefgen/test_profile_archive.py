"""Export and import: what goes out comes in elsewhere, and nothing else does."""

import io
import json
import zipfile

import pytest
from PIL import Image

from prefgen.errors import ImageError, PrefGenError, ProfileError
from prefgen.profile import Profiles, export_profile, import_profile
from prefgen.profile.images import StoredImage
from tests.prefgen.profiles import digest, stored_image


@pytest.fixture
def profiles(tmp_path):
    return Profiles(tmp_path / "profiles")


@pytest.fixture
def exported(profiles):
    """A profile of three ratings, one undone, as its archive."""
    me = profiles.profile("me")
    for number in range(4):
        me.rate(stored_image(number), number % 2 == 0, "a cat")
    me.undo(stored_image(3).digest)
    file = io.BytesIO()
    assert export_profile(me, file) == 3
    return file


def members(file):
    with zipfile.ZipFile(file) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def packed(files, **how):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", **how) as archive:
        for name, data in files.items() if isinstance(files, dict) else files:
            archive.writestr(name, data)
    return file


def state(profile):
    return [(rating.image, rating.liked, rating.prompt, rating.time) for rating in profile.ratings]


def test_a_profile_moves_whole_and_without_what_was_undone(tmp_path, profiles, exported):
    assert not any(stored_image(3).digest.encode() in name.encode() + data for name, data in members(exported).items())
    elsewhere = Profiles(tmp_path / "elsewhere")
    done = import_profile(elsewhere, "moved", exported)
    assert (done.ratings, done.known, done.images) == (3, 0, 3)
    assert state(elsewhere.profile("moved")) == state(profiles.profile("me"))
    assert import_profile(elsewhere, "moved", exported).known == 3, "a second time changes nothing"
    assert state(elsewhere.profile("moved")) == state(profiles.profile("me"))
    assert [path.name for path in elsewhere.root.iterdir() if path.name != ".lock"] == ["moved"]


def test_of_two_ratings_of_an_image_the_newer_counts(tmp_path, exported):
    elsewhere = Profiles(tmp_path / "elsewhere")
    elsewhere.profile("me").rate(stored_image(0), False, "later")
    assert import_profile(elsewhere, "me", exported).known == 1
    assert elsewhere.profile("me").rating(stored_image(0).digest).liked is False
    older = members(exported)
    later = older["ratings.jsonl"].replace(b'"liked": true', b'"liked": false').replace(b'"a cat"', b'"newer"')
    text = "\n".join(
        json.dumps(line | {"time": 9e12}) if "image" in line else json.dumps(line)
        for line in map(json.loads, later.decode().splitlines())
    )
    import_profile(elsewhere, "me", packed(older | {"ratings.jsonl": text}))
    rating = elsewhere.profile("me").rating(stored_image(2).digest)
    assert (rating.liked, rating.prompt) == (False, "newer")
    assert rating.time < 9e12, "a time to come is taken for now, or nothing later could count"


LINE = json.dumps({"time": 1.0, "image": stored_image(0).digest, "liked": True, "prompt": ""}) + "\n"
NAME = f"images/{stored_image(0).digest}.webp"
GOOD = {"ratings.jsonl": LINE, NAME: stored_image(0).encode()}


def bomb(side):
    """A picture of very many pixels in a file of few kB."""
    file = io.BytesIO()
    Image.new("1", (side, side)).save(file, "PNG")
    return file.getvalue()


def doubled():
    with pytest.warns(UserWarning, match="Duplicate name"):
        return packed([*GOOD.items(), (NAME, b"again")])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: io.BytesIO(b""), "is not a readable .zip"),
        (lambda: io.BytesIO(b"PK\x03\x04" + b"x" * 200), "is not a readable .zip"),
        (lambda: packed({}), "has no ratings.jsonl"),
        (lambda: packed({NAME: GOOD[NAME]}), "has no ratings.jsonl"),
        (
            lambda: packed(GOOD | {"../../evil.py": b"x"}),
            "file in the archive: '../../evil.py'",
        ),
        (
            lambda: packed(GOOD | {"/etc/cron.d/x": b"x"}),
            "file in the archive: '/etc/cron.d/x'",
        ),
        (lambda: packed(GOOD | {f"images/../{digest(1)}.webp": b"x"}), "Unexpected or duplicate file"),
        (lambda: packed(GOOD | {f"images\\{digest(1)}.webp": b"x"}), "Unexpected or duplicate|2 images"),
        (lambda: packed(GOOD | {f"images/{digest(1)}.py": b"x"}), "Unexpected or duplicate file"),
        (doubled, "Unexpected or duplicate file"),
        (lambda: packed(GOOD, compression=zipfile.ZIP_BZIP2), "compressed by an unsupported method"),
        (lambda: packed({"ratings.jsonl": LINE}), "1 ratings and 0 images"),
        (lambda: packed(GOOD | {f"images/{digest(1)}.webp": b"x"}), "1 ratings and 2 images"),
        (lambda: packed(GOOD | {"ratings.jsonl": LINE + "{]\n"}), "ratings.jsonl has 1 malformed lines"),
        (lambda: packed(GOOD | {"ratings.jsonl": ""}), "has 0 ratings"),
        (lambda: packed(GOOD | {NAME: b"#!/bin/sh"}), "could not be read as an image"),
        (lambda: packed(GOOD | {NAME: stored_image(5).encode()}), "does not match its digest"),
        (lambda: packed(GOOD | {NAME: bomb(9_000)}), "has more than 67,108,864 pixels"),
        (lambda: packed(GOOD | {NAME: bomb(13_500)}), "has more than 67,108,864 pixels"),
        (
            lambda: packed(GOOD | {"ratings.jsonl": LINE + " " * 10**7}, compression=zipfile.ZIP_DEFLATED),
            "unpacks to 10,000,.* bytes; expected at most",
        ),
    ],
)
def test_hostile_archives_are_refused_and_leave_nothing(profiles, make, message):
    with pytest.raises((ProfileError, ImageError), match=message):
        import_profile(profiles, "victim", make())
    assert profiles.names() == []
    assert [path.name for path in profiles.root.rglob("*") if path.name != ".lock"] == []


def test_an_archive_that_lies_about_its_sizes_is_refused(profiles):
    """The bytes that unpack are counted, whatever the directory says: here 40 MB of zeros where it promises 99."""
    data = bytearray(packed(GOOD | {NAME: bytes(40 * 2**20)}, compression=zipfile.ZIP_DEFLATED).getvalue())
    told = (40 * 2**20).to_bytes(4, "little")
    assert data.count(told) == 2
    with pytest.raises(PrefGenError):
        import_profile(profiles, "victim", io.BytesIO(data.replace(told, (99).to_bytes(4, "little"))))
    assert profiles.names() == []


def test_nothing_to_export_is_said(profiles):
    with pytest.raises(ProfileError, match="'me' has nothing to export"):
        export_profile(profiles.profile("me"), io.BytesIO())


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "BMP", "TIFF"])
def test_a_picture_has_one_digest_in_every_lossless_file(kind):
    file = io.BytesIO()
    stored_image(3).image.save(file, kind, **({"lossless": True} if kind == "WEBP" else {}))
    assert StoredImage.decode(file.getvalue()).digest == stored_image(3).digest
    assert StoredImage.decode(stored_image(3).encode()).digest == stored_image(3).digest


def test_large_pictures_are_kept_smaller_and_metadata_is_not_kept():
    large = Image.new("RGB", (3000, 1500), (10, 20, 30))
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x010E] = "a secret place"
    large.save(file, "JPEG", exif=exif)
    kept = StoredImage.decode(file.getvalue())
    assert kept.image.size == (1024, 512)
    assert b"a secret" not in kept.encode()


@pytest.mark.parametrize("data", [b"", b"GIF89a", b"<svg/>", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"])
def test_what_is_no_image_is_refused(data):
    with pytest.raises(ImageError, match="could not be read as an image; expected PNG, JPEG"):
        StoredImage.decode(data)
