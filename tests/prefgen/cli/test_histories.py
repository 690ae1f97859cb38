"""People are found wherever their histories are kept."""

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from prefgen.cli.errors import CommandError
from prefgen.cli.histories import find_users
from prefgen.errors import HistoryError, ImageError, PrefGenError
from prefgen.history import UserHistory
from tests.prefgen.cli import material


@pytest.fixture(scope="module")
def bundled():
    return {name: UserHistory.from_folder(material.PEOPLE / name) for name in ("ada", "bo")}


def digests(people):
    return {person.name: person.read().digest for person in people}


@pytest.mark.parametrize("form", ["folders", "set", "table", "tables"])
def test_the_same_people_out_of_every_form(bundled, tmp_path, form):
    if form == "set":
        source = material.write_set(tmp_path / "set")
    elif form == "folders":
        source = material.PEOPLE
    else:
        source = material.write_table(tmp_path / "people.parquet")
        source = source if form == "table" else source.parent
    people = find_users([source])
    assert [person.name for person in people] == ["ada", "bo"]
    assert digests(people) == {name: history.digest for name, history in bundled.items()}


def test_the_newest_pairs_and_one_split(bundled, tmp_path):
    source = material.write_set(tmp_path / "set")
    newest = {name: UserHistory(history.pairs[-2:]).digest for name, history in bundled.items()}
    for place in (source, material.PEOPLE, material.write_table(tmp_path / "people.parquet")):
        assert digests(find_users([place], max_pairs=2)) == newest
    (ada,) = find_users([source], split="train")
    assert ada.read().digest == UserHistory(bundled["ada"].pairs[:3]).digest


def test_profiles_are_people(tmp_path):
    material.write_profile(tmp_path / "profiles", "eve")
    for place in (tmp_path / "profiles", tmp_path / "profiles" / "eve"):
        (eve,) = find_users([place])
        assert eve.name == "eve"
        assert len(eve.read()) == 2, "two likes share the dislike"
        assert {pair.prompt for pair in eve.read().pairs} == {"a cat"}


def test_nobody_and_two_of_one_name(tmp_path):
    with pytest.raises(CommandError, match=r"does not exist; expected pairs\.json"):
        find_users([tmp_path / "none"])
    with pytest.raises(CommandError, match="contains no user; expected pairs"):
        find_users([tmp_path])
    with pytest.raises(CommandError, match="contains no user in the split 'validation'"):
        find_users([material.write_set(tmp_path / "set")], split="validation")
    with pytest.raises(CommandError, match="2 users are called 'ada'"):
        find_users([material.PEOPLE, material.PEOPLE / "ada"])


@pytest.mark.parametrize("form", ["folder", "set"])
def test_a_history_that_cannot_be_read_says_so_when_it_is_read(tmp_path, form):
    if form == "folder":
        shutil.copytree(material.PEOPLE / "ada", tmp_path / "people" / "ada")
        (tmp_path / "people" / "ada" / "liked_0.png").write_bytes(b"no picture")
        (person,) = find_users([tmp_path / "people"])
        error = ImageError
    else:
        pairs = [{"liked": "../../secret.png", "disliked": "x.png", "prompt": ""}]
        (tmp_path / "users.jsonl").write_text(json.dumps({"user": "ada", "split": "test", "pairs": pairs}))
        (person,) = find_users([tmp_path])
        error = HistoryError
    with pytest.raises(error):
        person.read()


@pytest.mark.parametrize("line", ["{", '{"user": "ada"}', "[1]"])
def test_a_broken_set_names_the_line(tmp_path, line):
    good = json.dumps({"user": "bo", "split": "test", "pairs": []})
    Path(tmp_path / "users.jsonl").write_text(f"{good}\n{line}\n")
    with pytest.raises(PrefGenError, match="line 2, is not a user"):
        find_users([tmp_path])


@pytest.mark.parametrize("user", [None, b"\xff"])
def test_a_row_of_nobody_is_named(tmp_path, user):
    rows = [{"user": b"ada", "liked": b"1", "disliked": b"2"}, {"user": user, "liked": b"1", "disliked": b"2"}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    with pytest.raises(CommandError, match=r"Row a\.parquet#1 has"):
        find_users([tmp_path])
    (tmp_path / "users.jsonl").write_text(json.dumps({"user": None, "split": "test", "pairs": []}))
    with pytest.raises(CommandError, match="line 1, is not a user"):
        find_users([tmp_path])


def test_names_in_bytes_are_text(tmp_path):
    rows = [{"user": name, "liked": b"1", "disliked": b"2"} for name in (b"ada", "b\u00f6".encode())]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    assert [person.name for person in find_users([tmp_path])] == ["ada", "b\u00f6"]


def test_however_people_are_mixed_up_each_row_group_is_read_once(tmp_path, monkeypatch):
    picture = (material.PEOPLE / "ada" / "liked_0.png").read_bytes()
    rows = [{"user": f"u{i % 20}", "liked": picture, "disliked": picture, "prompt": str(i)} for i in range(160)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet", row_group_size=10)
    read, reads = pq.ParquetFile.read_row_group, []
    monkeypatch.setattr(pq.ParquetFile, "read_row_group", lambda *a, **k: reads.append(a[1]) or read(*a, **k))
    for number, person in enumerate(find_users([tmp_path])):
        assert [pair.prompt for pair in person.read().pairs] == [str(i) for i in range(number, 160, 20)]
    assert reads == list(range(16))
    monkeypatch.setattr("prefgen.cli.histories.MAX_CACHED_BYTES", 1)
    (first, *_) = find_users([tmp_path])
    assert [pair.prompt for pair in first.read().pairs] == [str(i) for i in range(0, 160, 20)], "and again"
    assert first.read().digest == first.read().digest


def test_damaged_parquet_is_named(tmp_path):
    path = material.write_table(tmp_path / "people.parquet")
    data = bytearray(path.read_bytes())
    data[4:60] = b"\xff" * 56
    path.write_bytes(data)
    with pytest.raises(CommandError, match=r"people\.parquet is damaged"):
        find_users([path])


def test_hidden_places_are_passed_over(tmp_path):
    shutil.copytree(material.PEOPLE / "ada", tmp_path / ".trash" / "ada")
    shutil.copytree(material.PEOPLE / "ada", tmp_path / ".ada")
    with pytest.raises(CommandError, match="contains no user"):
        find_users([tmp_path])
    material.write_table(tmp_path / "people.parquet")
    (tmp_path / "._people.parquet").write_bytes(b"\0\5\x16\7")
    assert [person.name for person in find_users([tmp_path])] == ["ada", "bo"]
