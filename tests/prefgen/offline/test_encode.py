"""Many people's user embeddings, each its own file, and which file is whose."""

import shutil

import pytest
import torch

from prefgen.__main__ import main
from prefgen.embedding import extract, load_embedding
from prefgen.history import UserHistory
from prefgen.offline.encode import file_name
from prefgen.preference import load_preference_model
from tests.forked import launching, wait_for
from tests.prefgen.offline import material


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
    assert "1 histories could not be read" in said.out
    assert "encoding: 100%" in said.err
    rows = material.rows(out / "index.jsonl")
    assert [row["user"] for row in rows] == ["ada", "bo", "cy"]
    assert "could not be read as an image" in rows[2]["error"]
    assert sorted(path.name for path in out.iterdir()) == ["ada.safetensors", "bo.safetensors", "index.jsonl"]
    model = load_preference_model("pocket")
    for row in rows[:2]:
        found = load_embedding(out / row["file"])
        found.require_from(model)
        expected = extract(model, UserHistory.from_folder(material.PEOPLE / row["user"]))
        assert (row["pairs"], row["parts"]) == (8, " ".join(expected.vectors))
        assert all(torch.allclose(found.vectors[part], value, atol=1e-5) for part, value in expected.vectors.items())


def test_two_processes_write_the_same_files_and_rows(people, tmp_path, capsys):
    one, two, said = tmp_path / "one", tmp_path / "two", tmp_path / "said.txt"
    options = ["--users", str(people), "--device", "cpu"]
    assert main(["encode", str(one), *options]) == 0
    with launching("prefgen.__main__", "prefgen.offline.encode", "prefgen.preference") as start:
        start(said, 2, ["encode", two, *options])
        wait_for(lambda: said.read_text().count("ended 0") == 2, said)
    assert said.read_text().count("2 user embeddings in") == 1, "one of them says so"
    assert material.rows(two / "index.jsonl") == material.rows(one / "index.jsonl")
    for name in ("ada", "bo"):
        first, second = (load_embedding(folder / f"{name}.safetensors") for folder in (one, two))
        assert all(torch.allclose(second.vectors[part], value, atol=1e-5) for part, value in first.vectors.items())


def test_who_was_encoded_is_not_encoded_again(people, tmp_path, capsys):
    """A run that ended before its index was written, as a kill leaves it."""
    from prefgen.offline.ledger import Ledger

    out, index = tmp_path / "embeddings", tmp_path / "index.parquet"
    about = {"work": "encode", "checkpoint": load_preference_model("pocket").reading, "folder": str(out)}
    ledger = Ledger(index, {}, about)
    ledger.begin()
    before = {"user": "ada", "file": "before", "pairs": 3, "parts": "sem", "error": None}
    with ledger.writing(7) as writer:
        writer.add([("ada", [before])])
    assert main(["encode", str(out), "--users", str(people), "--index", str(index), "--device", "cpu"]) == 0
    assert "2/2" in capsys.readouterr().err
    rows = material.rows(index)
    assert rows[0] == before
    assert [row["user"] for row in rows] == ["ada", "bo", "cy"]
    assert [path.name for path in out.iterdir()] == ["bo.safetensors"]


def test_names_of_files_are_plain_and_everybodys_own():
    users = ["ada", "Ada", "a/b", "a\\b", "../x", "", "con", "ä", "a b", "a" * 200, "a" * 201]
    names = [file_name(user) for user in users]
    assert names[0] == "ada.safetensors"
    assert len({name.casefold() for name in names}) == len(names)
    assert all(not set(name) & set('/\\:*?"<>| ') and len(name) < 110 for name in names)
