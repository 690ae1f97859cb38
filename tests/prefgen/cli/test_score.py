"""Offline scores are PreferenceModel's own; a killed run goes on; two processes do what one does."""

import os
import re
import signal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from prefgen.__main__ import main
from prefgen.checkpoint.preference_model import load_preference_model
from prefgen.history import UserHistory
from prefgen.images import read_image
from tests.forked import launching, wait_for
from tests.prefgen.cli import material
from tests.prefgen.cli.material import OPTIONS, PROMPT

ROOT = Path(__file__).parents[3]


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
    with launching("prefgen.__main__", "prefgen.cli.scoring", "prefgen.checkpoint.preference_model") as start:
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
        prefix = model.encode_history(UserHistory.from_folder(material.PEOPLE / user))
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
    assert "belongs to a run with prompt 'a sun'; this run has 'another'" in capsys.readouterr().err
    assert main(arguments) == 0
    said = capsys.readouterr()
    same(material.rows(out), unbroken)
    assert "30 images, 2 users: 60 rows in" in said.out
    assert "2 images could not be scored" in said.out
    assert re.search(rf"scoring: 100%.* {30 - done}/{30 - done} ", said.err), "what was done is not done again"
    assert not parts.exists()
    assert main(arguments) == 1
    assert "already exists" in capsys.readouterr().err


def _is_zombie(process):
    return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"


@pytest.mark.parametrize("kind", ["image", "caption", "parquet"])
def test_what_was_scored_and_has_changed_is_not_gone_on_with(tmp_path, capsys, monkeypatch, kind):
    place, out = material.write_images(tmp_path / "images"), tmp_path / "out.jsonl"
    options = [*OPTIONS, "--captions"]
    (place / "02.txt").write_text("a cat")
    changed = place / {"image": "01.png", "caption": "02.txt"}.get(kind, "")
    if kind == "parquet":
        changed = place = tmp_path / "a.parquet"
        material.write_rows(place, [{"image": b"none"}] * 8)
    material.end_after_one(monkeypatch, "score", place, out, *options)
    changed.write_bytes(changed.read_bytes() + b" ")
    if kind == "parquet":
        material.write_rows(place, [{"image": b"another"}] * 8)
    assert main(["score", str(place), str(out), *options]) == 1
    said = capsys.readouterr().err
    name = {"image": "01.png", "caption": "02.png"}.get(kind, "a.parquet#0")
    assert f"'{name}' has changed. Restore it" in said
    assert f"remove {out}.parts to start again" in said


def test_images_may_come_and_go_between_runs(tmp_path, monkeypatch):
    place, out = material.write_images(tmp_path / "images", 10), tmp_path / "out.jsonl"
    material.end_after_one(monkeypatch, "score", place, out, *OPTIONS)
    (place / "01.png").rename(place / "later.png")
    assert main(["score", str(place), str(out), *OPTIONS]) == 0
    names = {row["image"] for row in material.rows(out)}
    assert len(names) == 10
    assert "01.png" not in names
    assert "later.png" in names


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
    assert "Process 0 of 2 lost another process" in said.read_text()
    assert "Run the same command again" in said.read_text()
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
    assert "has no column 'image'; its columns are jpg_0, caption, uid" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("images", "out", "message"),
    [
        ("empty", "out.jsonl", "contains no image"),
        ("missing", "out.jsonl", "does not exist; expected a folder of images"),
        ("empty", "out.csv", "expected the suffix .jsonl or .parquet"),
    ],
)
def test_what_cannot_be_scored_says_why(tmp_path, capsys, images, out, message):
    (tmp_path / "empty").mkdir()
    if out == "out.csv":
        material.write_images(tmp_path / "empty", 5)
    assert main(["score", str(tmp_path / images), str(tmp_path / out), *OPTIONS]) == 1
    assert message in capsys.readouterr().err
    assert not list(tmp_path.glob("out*"))


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory):
    """A small random CLIP model in transformers' format."""
    from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModelWithProjection

    torch.manual_seed(0)
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    folder = tmp_path_factory.mktemp("clip")
    CLIPVisionModelWithProjection(
        CLIPVisionConfig(**shape, image_size=32, patch_size=8, projection_dim=24)
    ).save_pretrained(folder)
    CLIPImageProcessor().save_pretrained(folder)
    return folder


def test_an_image_encoder_scores_without_a_checkpoint(tmp_path, clip_folder):
    """Images that ada liked score higher than those that she disliked, with either encoder."""
    for encoder in ("pocket", str(clip_folder)):
        out = tmp_path / f"{Path(encoder).name}.jsonl"
        options = ["--users", str(material.PEOPLE / "ada"), "--image-encoder", encoder, "--device", "cpu"]
        assert main(["score", str(material.PEOPLE / "ada"), str(out), *options]) == 0
        scores = {row["image"]: row["score"] for row in material.rows(out)}
        liked, disliked = (
            [score for name, score in scores.items() if name.startswith(side)] for side in ("liked", "disliked")
        )
        assert sum(liked) / len(liked) > 0.05 + sum(disliked) / len(disliked)


def test_a_folder_without_a_clip_model_is_refused(tmp_path, images, capsys):
    arguments = ["score", str(images), str(tmp_path / "out.jsonl"), *OPTIONS, "--image-encoder", str(tmp_path)]
    assert main(arguments) == 1
    assert "cannot be loaded as a CLIP model" in capsys.readouterr().err
