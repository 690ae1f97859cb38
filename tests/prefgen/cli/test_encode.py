"""Many people's user embeddings, each its own file, and which file is whose."""

import json
import os
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from prefgen.__main__ import main
from prefgen.checkpoint.preference_model import load_preference_model
from prefgen.cli.encoding import embedding_file_name
from prefgen.embedding import encode_user, load_embedding
from prefgen.history import UserHistory
from tests.forked import launching, wait_for
from tests.prefgen.cli import material


@pytest.fixture
def people(tmp_path):
    """Ada, Bo, and somebody whose image is broken."""
    for name in ("ada", "bo"):
        shutil.copytree(material.PEOPLE / name, tmp_path / "people" / name)
    broken = tmp_path / "people" / "cy"
    shutil.copytree(material.PEOPLE / "bo", broken)
    (broken / "pairs.json").write_text((broken / "pairs.json").read_text().replace('"bo"', '"cy"'))
    (broken / "liked_0.png").write_bytes(b"no picture")
    return tmp_path / "people"


def test_everybody_has_a_file_and_a_row(people, tmp_path, capsys):
    out = tmp_path / "embeddings"
    assert main(["encode", str(out), "--users", str(people), "--device", "cpu"]) == 0
    said = capsys.readouterr()
    assert "2 user embeddings in" in said.out
    assert "1 histories could not be encoded" in said.out
    assert "encoding: 100%" in said.err
    rows = material.rows(out / "index.jsonl")
    assert [row["user"] for row in rows] == ["ada", "bo", "cy"]
    assert "could not be read as an image" in rows[2]["error"]
    assert sorted(path.name for path in out.iterdir()) == ["ada.safetensors", "bo.safetensors", "index.jsonl"]
    model = load_preference_model("pocket")
    for row in rows[:2]:
        found = load_embedding(out / row["file"])
        found.require_from(model)
        expected = encode_user(model, UserHistory.from_folder(material.PEOPLE / row["user"]))
        assert (row["pairs"], row["parts"]) == (8, " ".join(expected.vectors))
        assert all(torch.allclose(found.vectors[part], value, atol=1e-5) for part, value in expected.vectors.items())


def test_two_processes_write_the_same_files_and_rows(people, tmp_path, capsys):
    one, two, said = tmp_path / "one", tmp_path / "two", tmp_path / "said.txt"
    options = ["--users", str(people), "--device", "cpu"]
    assert main(["encode", str(one), *options]) == 0
    with launching("prefgen.__main__", "prefgen.cli.encoding", "prefgen.checkpoint.preference_model") as start:
        start(said, 2, ["encode", two, *options])
        wait_for(lambda: said.read_text().count("ended 0") == 2, said)
    assert said.read_text().count("2 user embeddings in") == 1, "one of them says so"
    assert material.rows(two / "index.jsonl") == material.rows(one / "index.jsonl")
    for name in ("ada", "bo"):
        first, second = (load_embedding(folder / f"{name}.safetensors") for folder in (one, two))
        assert all(torch.allclose(second.vectors[part], value, atol=1e-5) for part, value in first.vectors.items())


def test_who_was_encoded_is_not_encoded_again(people, tmp_path, capsys, monkeypatch):
    out, index = tmp_path / "embeddings", tmp_path / "index.parquet"
    arguments = [str(out), "--users", str(people), "--index", str(index)]
    material.end_after_one(monkeypatch, "encode", *arguments, "--device", "cpu")
    assert [path.name for path in out.iterdir()] == ["ada.safetensors"]
    before = (out / "ada.safetensors").stat().st_mtime_ns
    assert main(["encode", *arguments, "--device", "cpu"]) == 0
    assert "2/2" in capsys.readouterr().err
    assert [row["user"] for row in material.rows(index)] == ["ada", "bo", "cy"]
    assert (out / "ada.safetensors").stat().st_mtime_ns == before


@pytest.mark.parametrize("form", ["folders", "set", "table", "profile"])
def test_other_people_and_other_pairs_are_not_gone_on_with(people, tmp_path, capsys, monkeypatch, form):
    out = tmp_path / "embeddings"
    if form == "set":
        people = material.write_set(tmp_path / "set")
        change = people / "images" / "bo" / "liked_0.png"
    elif form == "table":
        people = change = material.write_table(tmp_path / "people.parquet")
    elif form == "profile":
        people = tmp_path / "profiles"
        change = material.write_profile(people, "eve") / "ratings.jsonl"
    else:
        change = people / "bo" / "liked_7.png"
    material.end_after_one(monkeypatch, "encode", out, "--users", people, "--pairs", 8, "--device", "cpu")
    goes_on = ["encode", str(out), "--users", str(people), "--device", "cpu"]
    assert main([*goes_on, "--pairs", "1"]) == 1
    assert "belongs to a run with pairs 8; this run has 1" in capsys.readouterr().err
    assert main([*goes_on, "--split", "test"]) == 1
    assert "belongs to a run with" in capsys.readouterr().err
    was = change.stat()
    os.utime(change, ns=(was.st_atime_ns, was.st_mtime_ns + 10**9)) if form != "profile" else append(change)
    assert main(goes_on) == 1
    assert "belongs to a run with users {'" in capsys.readouterr().err
    assert main([*goes_on, "--users", str(material.write_profile(tmp_path / "more", "zoe"))]) == 1
    assert "'zoe'" in capsys.readouterr().err


def append(path):
    path.write_bytes(path.read_bytes() + path.read_bytes().splitlines(keepends=True)[-1])


def test_liked_images_alone_have_no_pairs(tmp_path):
    place = material.write_profile(tmp_path / "profiles", "eve", liked=(True, True))
    assert main(["encode", str(tmp_path / "out"), "--users", str(place), "--device", "cpu"]) == 0
    (row,) = material.rows(tmp_path / "out" / "index.jsonl")
    assert (row["pairs"], row["parts"], row["error"]) == (0, "img", None)


@pytest.mark.parametrize("ending", [".jsonl", ".parquet"])
def test_odd_names_prompts_and_paths_end_nothing(tmp_path, ending):
    """A name and a prompt of half a character, a path with a NUL, JSON too deep to be read."""
    place, broken = material.write_set(tmp_path / "set"), tmp_path / "broken"
    pair = {"liked": "images/bo/liked_0.png", "disliked": "images/bo/disliked_0.png"}
    odd = [("\ud800x", pair), ("half", {**pair, "prompt": "\ud800"}), ("nul", {**pair, "liked": "a\0b"}), ("0", pair)]
    lines = [json.dumps({"user": name, "split": "odd", "pairs": [one]}) for name, one in odd]
    (place / "users.jsonl").write_text("\n".join(lines))
    for name, listed in (("deep", "[" * 100_000), ("cut", '{"pairs": [{"liked": "a\\u0000b", "disliked": "b"}]}')):
        (broken / name).mkdir(parents=True)
        (broken / name / "pairs.json").write_text(listed)
    out, index = tmp_path / "embeddings", tmp_path / f"index{ending}"
    places = ["--users", str(place), "--users", str(broken), "--index", str(index)]
    assert main(["encode", str(out), *places, "--device", "cpu"]) == 0
    rows = {row["user"]: row for row in material.rows(index)}
    name = "\ud800x" if ending == ".jsonl" else "\\ud800x"
    assert list(rows) == [name, "half", "nul", "0", "cut", "deep"]
    assert load_embedding(out / rows[name]["file"]).name == "\ud800x"
    assert "unpaired surrogate" in rows["half"]["error"]
    assert "expected a file in" in rows["nul"]["error"]
    assert "a\\x00b" in rows["cut"]["error"]
    assert "is not a list of pairs" in rows["deep"]["error"]


def test_an_image_that_cannot_be_read_is_called_by_whose_it_is(tmp_path):
    table = [{"user": "ada", "liked": b"no picture", "disliked": b"none"}]
    pq.write_table(pa.Table.from_pylist(table), tmp_path / "people.parquet")
    users = ["--users", str(tmp_path / "people.parquet")]
    assert main(["encode", str(tmp_path / "out"), *users, "--device", "cpu"]) == 0
    (row,) = material.rows(tmp_path / "out" / "index.jsonl")
    assert "liked in pair 1 of 'ada' could not be read as an image" in row["error"]
    assert "BytesIO" not in row["error"]


def test_a_full_disk_says_which_file(people, tmp_path, capsys, monkeypatch):
    import safetensors.torch
    from safetensors import SafetensorError

    def full(*given, **how):
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(safetensors.torch, "save_file", full)
    assert main(["encode", str(tmp_path / "out"), "--users", str(people), "--device", "cpu"]) == 1
    assert "ada.safetensors could not be written" in capsys.readouterr().err


def test_names_of_files_are_plain_and_everybodys_own():
    users = ["ada", "Ada", "a/b", "a\\b", "../x", "", "con", "ä", "a b", "a" * 200, "a" * 201]
    names = [embedding_file_name(user) for user in users]
    assert names[0] == "ada.safetensors"
    assert len({name.casefold() for name in names}) == len(names)
    assert all(not set(name) & set('/\\:*?"<>| ') and len(name) < 110 for name in names)
