"""What is odd among the images and people that are scored: each is said where it is, and the rest is scored."""

import os
import shutil
import weakref

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from prefgen.__main__ import main
from prefgen.checkpoint.preference_model import load_preference_model
from prefgen.history import UserHistory
from tests.prefgen.cli import material
from tests.prefgen.cli.material import OPTIONS


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return material.write_images(tmp_path_factory.mktemp("images"))


def test_a_score_that_is_no_number_is_an_error(tmp_path, capsys):
    from prefgen.checkpoint.file import read_checkpoint, write_part
    from prefgen.pocket.shapes import weights_path

    found = read_checkpoint(weights_path("preference"))
    tensors = found.part("prefdisc")
    tensors["tokens"] = tensors["tokens"] * float("nan")
    write_part(tmp_path / "nan.safetensors", "prefdisc", found.header["prefdisc"], tensors)
    place, out = material.write_images(tmp_path / "images", 5), tmp_path / "out.jsonl"
    assert main(["score", str(place), str(out), *OPTIONS, "--checkpoint", str(tmp_path / "nan.safetensors")]) == 0
    assert "5 images could not be scored" in capsys.readouterr().out
    assert "NaN" not in out.read_text()
    for row in material.rows(out):
        assert row["score"] is None
        assert row["image"] in material.BROKEN or "the score is nan" in row["error"]


@pytest.mark.parametrize("ending", [".jsonl", ".parquet"])
def test_a_name_that_is_no_text_is_scored_once_and_written(tmp_path, monkeypatch, capsys, ending):
    place, out = material.write_images(tmp_path / "images", 5), tmp_path / f"out{ending}"
    (place / "01.png").rename(place / os.fsdecode(b"0\xff.png"))
    material.end_after_one(monkeypatch, "score", place, out, *OPTIONS)
    assert main(["score", str(place), str(out), *OPTIONS]) == 0
    assert "1/1" in capsys.readouterr().err
    name = "0\udcff.png" if ending == ".jsonl" else "0\\udcff.png"
    assert [row["score"] is None for row in material.rows(out) if row["image"] == name] == [False, False]


def test_pipes_are_no_images(tmp_path):
    place, out = material.write_images(tmp_path / "images", 5), tmp_path / "out.jsonl"
    os.mkfifo(place / "pipe.png")
    assert main(["score", str(place), str(out), *OPTIONS]) == 0
    assert "pipe.png" not in {row["image"] for row in material.rows(out)}
    material.write_rows(tmp_path / "a.parquet", [{"image": "images/pipe.png"}, {"image": "images/01.png"}])
    assert main(["score", str(tmp_path / "a.parquet"), str(tmp_path / "b.jsonl"), *OPTIONS]) == 0
    errors = [row["error"] for row in material.rows(tmp_path / "b.jsonl")]
    assert ["it is not a regular file" in (error or "") for error in errors] == [True, True, False, False]


def test_cells_of_parquet_that_are_no_text(images, tmp_path):
    picture = (images / "01.png").read_bytes()
    offsets = np.array([0, 2, 2, 5, 5, 6], dtype=np.int32).tobytes()
    odd = pa.StringArray.from_buffers(5, pa.py_buffer(offsets), pa.py_buffer(b"ok\xff\xfea0"))
    texts = {
        "utf8": odd,
        "binary": pa.array([b"ok", None, b"\xff", b"", b"0"], pa.binary()),
        "number": pa.array([1, None, 0, 2, 3]),
        "time": pa.array([0, None, 2**62, 0, 0], pa.timestamp("us")),
    }
    pq.write_table(pa.table({"image": [picture] * 5, **texts}), tmp_path / "a.parquet")
    ada = ["--users", str(material.PEOPLE / "ada"), "--device", "cpu"]
    found = {}
    for name in texts:
        out = tmp_path / f"{name}.jsonl"
        columns = ["--prompt-column", name, "--id-column", name]
        assert main(["score", str(tmp_path / "a.parquet"), str(out), *columns, *ada]) == 0
        found[name] = material.rows(out)
        bad = [row["error"] for row in found[name] if row["error"]]
        assert len(bad) == (name != "number")
        assert all("unreadable cell" in error or "is not text" in error for error in bad)
    assert [row["prompt"] for row in found["binary"]] == ["ok", "", "", "", "0"]
    assert [row["prompt"] for row in found["number"]] == ["1", "", "0", "2", "3"]
    assert [row["id"] for row in found["number"]] == ["1", None, "0", "2", "3"]


def test_hidden_parquet_files_are_passed_over(tmp_path):
    place = tmp_path / "shards"
    for name in (".cache/a.parquet", "a.parquet"):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        material.write_rows(place / name, [{"image": b"none"}])
    (place / "._a.parquet").write_bytes(b"\0\5\x16\7")
    assert main(["score", str(place), str(tmp_path / "out.jsonl"), *OPTIONS]) == 0
    assert {row["image"] for row in material.rows(tmp_path / "out.jsonl")} == {"a.parquet#0"}


def test_of_many_people_one_history_at_a_time_is_in_memory(tmp_path):
    from prefgen.cli.histories import User
    from prefgen.cli.image_sources import open_source
    from prefgen.cli.processes import join_processes
    from prefgen.cli.scoring import score_images

    alive, most = weakref.WeakSet(), []

    def read():
        history = UserHistory.from_folder(material.PEOPLE / "ada")
        alive.add(history)
        most.append(len(alive))
        return history

    source = open_source(material.write_images(tmp_path / "images", 5))
    people = [User(str(i), read, str) for i in range(4)]
    score_images(load_preference_model("pocket"), people, source, tmp_path / "out.jsonl", join_processes("cpu"))
    assert len(most) == 4
    assert max(most) <= 2, "the one that goes and the one that comes"


def test_whose_history_cannot_be_read_is_said(images, tmp_path, capsys):
    shutil.copytree(material.PEOPLE / "bo", tmp_path / "people" / "bo")
    (tmp_path / "people" / "bo" / "liked_0.png").write_bytes(b"no picture")
    users = ["--users", str(tmp_path / "people"), "--device", "cpu"]
    assert main(["score", str(images), str(tmp_path / "out.jsonl"), *users]) == 1
    assert "The history of 'bo' cannot be read" in capsys.readouterr().err
    assert not list(tmp_path.glob("out*"))
