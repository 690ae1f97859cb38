"""Offline scores are PreferenceModel's own; a killed run goes on; two processes do what one does."""

import os
import re
import shutil
import signal
import weakref
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from prefgen.__main__ import main
from prefgen.history import UserHistory
from prefgen.images import read_image
from prefgen.preference import load_preference_model
from tests.forked import launching, wait_for
from tests.prefgen.offline import material

ROOT = Path(__file__).parents[3]
PROMPT = "a sun"
OPTIONS = ["--users", str(material.PEOPLE), "--prompt", PROMPT, "--batch", "4", "--device", "cpu"]


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return material.write_images(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def unbroken(images, tmp_path_factory):
    """What one process scores without a break."""
    out = tmp_path_factory.mktemp("unbroken") / "out.jsonl"
    assert main(["score", str(images), str(out), *OPTIONS]) == 0
    assert [path.name for path in out.parent.iterdir()] == ["out.jsonl"], "nothing is left beside it"
    return material.rows(out)


@pytest.fixture(scope="module")
def launch():
    """Starts the command in so many processes; gives their ids."""
    with launching("prefgen.__main__", "prefgen.offline.score", "prefgen.preference") as start:
        yield lambda said, processes, *arguments: start(said, processes, arguments)


def same(rows, expected):
    """The same rows in the same order; scores but for float32 in batches of other sizes."""
    plain = [{**row, "score": None} for row in rows]
    assert plain == [{**row, "score": None} for row in expected]
    assert [row["score"] for row in rows] == [pytest.approx(row["score"], abs=1e-5) for row in expected]


def test_every_image_has_a_row_for_every_person(unbroken, images):
    names = sorted(str(path.relative_to(images)) for path in images.rglob("*") if path.suffix in (".png", ".jpg"))
    assert len(names) == 30
    assert [(row["image"], row["user"]) for row in unbroken] == [
        (name, user) for name in names for user in ("ada", "bo")
    ]
    failed = [row for row in unbroken if row["error"]]
    assert {row["image"] for row in failed} == set(material.BROKEN)
    assert all(row["score"] is None and "not readable as an image" in row["error"] for row in failed)


def test_scores_are_those_of_the_library(unbroken, images):
    model = load_preference_model("pocket")
    for user in ("ada", "bo"):
        prefix = model.read(UserHistory.from_folder(material.PEOPLE / user))
        own = [row for row in unbroken if row["user"] == user and not row["error"]]
        assert len({row["score"] for row in own}) > 20
        # of two sizes, in two folders
        for row in (row for row in own if row["image"] in ("01.png", "deep/00.jpg", "deep/24.png")):
            with torch.no_grad():
                expected = model.prefdisc.score(prefix, read_image(images / row["image"])[None], PROMPT)
            assert row["score"] == pytest.approx(expected.item(), abs=1e-5)  # float32, alone and in a batch


def test_a_killed_run_goes_on(unbroken, images, tmp_path, launch, capsys):
    out, parts = tmp_path / "out.jsonl", tmp_path / "out.jsonl.parts"
    arguments = ["score", str(images), str(out), *OPTIONS]
    (process,) = launch(tmp_path / "said.txt", 1, *arguments)
    try:
        wait_for(lambda: any(file.stat().st_size for file in parts.glob("0*.jsonl")), tmp_path / "said.txt")
    finally:
        os.kill(process, signal.SIGKILL)
    wait_for(lambda: not Path(f"/proc/{process}").exists() or _is_zombie(process), tmp_path / "said.txt")
    assert not out.exists()
    (part,) = parts.glob("0*.jsonl")
    done = part.read_bytes().count(b"\n")
    assert 0 < done < 30
    with part.open("ab") as torn:
        torn.write(b'{"item": "01.png", "rows": [{"ima')  # as a kill in the middle of a line leaves it
    assert main([*arguments[:-4], "--batch", "4", "--device", "cpu", "--prompt", "another"]) == 1
    assert "holds work begun with prompt 'a sun', this one has 'another'" in capsys.readouterr().err
    assert main(arguments) == 0
    said = capsys.readouterr()
    same(material.rows(out), unbroken)
    assert "30 images, 2 people: 60 rows in" in said.out
    assert "2 images could not be scored" in said.out
    assert re.search(rf"scoring: 100%.* {30 - done}/{30 - done} ", said.err), "what was done is not done again"
    assert not parts.exists()
    assert main(arguments) == 1
    assert "is there already" in capsys.readouterr().err


def _is_zombie(process):
    return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"


def ended_after_a_batch(monkeypatch, *arguments):
    """A run that ends when one batch is scored, as a kill leaves it."""
    from prefgen.offline import ledger

    add = ledger.Writer.add

    def and_end(writer, done):
        add(writer, done)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(ledger.Writer, "add", and_end)
        assert main(["score", *map(str, arguments)]) == 130


@pytest.mark.parametrize("kind", ["image", "caption", "parquet"])
def test_what_was_scored_and_has_changed_is_not_gone_on_with(tmp_path, capsys, monkeypatch, kind):
    place, out = material.write_images(tmp_path / "images"), tmp_path / "out.jsonl"
    options = [*OPTIONS, "--captions"]
    (place / "02.txt").write_text("a cat")
    changed = place / {"image": "01.png", "caption": "02.txt"}.get(kind, "")
    if kind == "parquet":
        changed = place = tmp_path / "a.parquet"
        write_table(place, [{"image": b"none"}] * 8)
    ended_after_a_batch(monkeypatch, place, out, *options)
    changed.write_bytes(changed.read_bytes() + b" ")
    if kind == "parquet":
        write_table(place, [{"image": b"another"}] * 8)
    assert main(["score", str(place), str(out), *options]) == 1
    said = capsys.readouterr().err
    name = {"image": "01.png", "caption": "02.png"}.get(kind, "a.parquet#0")
    assert f"'{name}' has changed since its rows were made" in said
    assert f"remove {out}.parts to begin anew" in said


def test_images_may_come_and_go_between_runs(tmp_path, monkeypatch):
    place, out = material.write_images(tmp_path / "images", 10), tmp_path / "out.jsonl"
    ended_after_a_batch(monkeypatch, place, out, *OPTIONS)
    (place / "01.png").rename(place / "later.png")
    assert main(["score", str(place), str(out), *OPTIONS]) == 0
    names = {row["image"] for row in material.rows(out)}
    assert len(names) == 10
    assert "01.png" not in names
    assert "later.png" in names


def test_a_score_that_is_no_number_is_an_error(tmp_path, capsys):
    from prefgen.checkpoint import read_checkpoint, write_part
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
    ended_after_a_batch(monkeypatch, place, out, *OPTIONS)
    assert main(["score", str(place), str(out), *OPTIONS]) == 0
    assert "1/1" in capsys.readouterr().err
    name = "0\udcff.png" if ending == ".jsonl" else "0\\udcff.png"
    assert [row["score"] is None for row in material.rows(out) if row["image"] == name] == [False, False]


def test_pipes_are_no_images(tmp_path):
    place, out = material.write_images(tmp_path / "images", 5), tmp_path / "out.jsonl"
    os.mkfifo(place / "pipe.png")
    assert main(["score", str(place), str(out), *OPTIONS]) == 0
    assert "pipe.png" not in {row["image"] for row in material.rows(out)}
    write_table(tmp_path / "a.parquet", [{"image": "images/pipe.png"}, {"image": "images/01.png"}])
    assert main(["score", str(tmp_path / "a.parquet"), str(tmp_path / "b.jsonl"), *OPTIONS]) == 0
    errors = [row["error"] for row in material.rows(tmp_path / "b.jsonl")]
    assert ["it is no regular file" in (error or "") for error in errors] == [True, True, False, False]


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
        assert all("cannot be read" in error or "is no text" in error for error in bad)
    assert [row["prompt"] for row in found["binary"]] == ["ok", "", "", "", "0"]
    assert [row["prompt"] for row in found["number"]] == ["1", "", "0", "2", "3"]
    assert [row["id"] for row in found["number"]] == ["1", None, "0", "2", "3"]


def test_hidden_parquet_files_are_passed_over(tmp_path):
    place = tmp_path / "shards"
    for name in (".cache/a.parquet", "a.parquet"):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        write_table(place / name, [{"image": b"none"}])
    (place / "._a.parquet").write_bytes(b"\0\5\x16\7")
    assert main(["score", str(place), str(tmp_path / "out.jsonl"), *OPTIONS]) == 0
    assert {row["image"] for row in material.rows(tmp_path / "out.jsonl")} == {"a.parquet#0"}


def write_table(path, rows):
    pq.write_table(pa.Table.from_pylist(rows), path)


def test_of_many_people_one_history_at_a_time_is_in_memory(tmp_path):
    from prefgen.offline.images import open_source
    from prefgen.offline.people import Person
    from prefgen.offline.processes import join
    from prefgen.offline.score import score_images

    alive, most = weakref.WeakSet(), []

    def read():
        history = UserHistory.from_folder(material.PEOPLE / "ada")
        alive.add(history)
        most.append(len(alive))
        return history

    source = open_source(material.write_images(tmp_path / "images", 5))
    people = [Person(str(i), read, str) for i in range(4)]
    score_images(load_preference_model("pocket"), people, source, tmp_path / "out.jsonl", join("cpu"))
    assert len(most) == 4
    assert max(most) <= 2, "the one that goes and the one that comes"


def test_whose_history_cannot_be_read_is_said(images, tmp_path, capsys):
    shutil.copytree(material.PEOPLE / "bo", tmp_path / "people" / "bo")
    (tmp_path / "people" / "bo" / "liked_0.png").write_bytes(b"no picture")
    users = ["--users", str(tmp_path / "people"), "--device", "cpu"]
    assert main(["score", str(images), str(tmp_path / "out.jsonl"), *users]) == 1
    assert "The history of 'bo' cannot be read" in capsys.readouterr().err
    assert not list(tmp_path.glob("out*"))


def test_two_processes_give_the_same_rows(unbroken, images, tmp_path, launch):
    said, out = tmp_path / "said.txt", tmp_path / "out.parquet"
    launch(said, 2, "score", images, out, *OPTIONS)
    wait_for(lambda: said.read_text().count("ended 0") == 2, said)
    same(material.rows(out), unbroken)
    assert said.read_text().count("60 rows in") == 1, "one of them says so"
    first, second = (total for total in re.findall(r"/(\d+) \[", said.read_text())[-2:])
    assert first == second
    assert 10 <= int(first) < 20, "the shown one had its share"


def test_a_process_that_dies_is_reported_and_another_number_of_them_goes_on(unbroken, images, tmp_path, launch, capsys):
    said, out = tmp_path / "said.txt", tmp_path / "out.jsonl"
    arguments = ["score", str(images), str(out), *OPTIONS, "--batch", "1"]
    _, second = launch(said, 2, *arguments)
    parts = tmp_path / "out.jsonl.parts"
    try:
        wait_for(lambda: any(file.stat().st_size for file in parts.glob("00001-*.jsonl")), said)
    finally:
        os.kill(second, signal.SIGKILL)
    wait_for(lambda: "ended 1" in said.read_text(), said)
    assert "Process 0 of 2 found another one gone" in said.read_text()
    assert "give the same command again" in said.read_text()
    assert not out.exists()
    done = sum(file.read_bytes().count(b"\n") for file in parts.glob("0*.jsonl"))
    assert 15 < done < 30, "the first did its share, the second not"
    assert main(arguments) == 0
    same(material.rows(out), unbroken)
    assert re.search(rf"scoring: 100%.* {30 - done}/{30 - done} ", capsys.readouterr().err)


def test_parquet_with_prompts_and_names_of_its_own(unbroken, images, tmp_path, capsys):
    names = ["01.png", "02.png", "deep/00.jpg", "broken.png"]
    table = [{"jpg_0": (images / name).read_bytes(), "caption": PROMPT, "uid": name} for name in names]
    table.append({"jpg_0": None, "caption": None, "uid": "none"})
    pq.write_table(pa.Table.from_pylist(table), tmp_path / "a.parquet", row_group_size=2)
    out = tmp_path / "out.jsonl"
    columns = ["--image-column", "jpg_0", "--prompt-column", "caption", "--id-column", "uid"]
    people = ["--users", str(material.PEOPLE / "ada"), "--device", "cpu"]
    assert main(["score", str(tmp_path / "a.parquet"), str(out), *columns, *people]) == 0
    found = material.rows(out)
    expected = {row["image"]: row for row in unbroken if row["user"] == "ada"}
    assert [row["image"] for row in found] == [f"a.parquet#{i}" for i in range(5)]
    for row, name in zip(found[:4], names, strict=True):
        assert (row["id"], row["prompt"]) == (name, PROMPT)
        assert row["score"] == pytest.approx(expected[name]["score"], abs=1e-5)  # as above
    assert [bool(row["error"]) for row in found] == [False, False, False, True, True]
    assert found[4]["error"] == "no image in this row"
    assert main(["score", str(tmp_path / "a.parquet"), str(tmp_path / "b.jsonl"), *people]) == 1
    assert "has no column 'image', its columns are jpg_0, caption, uid" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("images", "out", "message"),
    [
        ("empty", "out.jsonl", "holds no image"),
        ("missing", "out.jsonl", "is not there, expected a folder of images"),
        ("empty", "out.csv", "expected a name that ends in .jsonl or .parquet"),
    ],
)
def test_what_cannot_be_scored_says_why(tmp_path, capsys, images, out, message):
    (tmp_path / "empty").mkdir()
    if out == "out.csv":
        material.write_images(tmp_path / "empty", 5)
    assert main(["score", str(tmp_path / images), str(tmp_path / out), *OPTIONS]) == 1
    assert message in capsys.readouterr().err
    assert not list(tmp_path.glob("out*"))
