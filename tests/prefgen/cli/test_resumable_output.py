"""What is done is kept: nothing twice, nothing lost."""

import errno
import multiprocessing
import os

import pytest

from prefgen.cli.errors import CommandError
from prefgen.cli.resumable_output import FinishedItem, ResumableOutput
from tests.prefgen.cli import material

COLUMNS = {"image": "string", "score": "double", "error": "string"}


def done(item, score=0.5, error=None):
    return FinishedItem(item, [{"image": item, "score": score, "error": error}])


@pytest.mark.parametrize("ending", [".jsonl", ".parquet"])
def test_rows_of_several_processes_and_runs_in_the_order_of_the_items(tmp_path, ending):
    out = tmp_path / f"out{ending}"
    output = ResumableOutput(out, COLUMNS, {"work": "a"})
    output.begin()
    with output.open_writer(0) as first, output.open_writer(1) as second:
        first.add([done("c"), done("é", None, "broken")])
        second.add([done("b", 0.25)])
    with ResumableOutput(out, COLUMNS, {"work": "a"}).open_writer(0) as again:
        again.add([done("b", 0.75), done("a"), done("gone")])
    assert output.finished_items() == {"a", "b", "c", "é", "gone"}
    tally = output.finish(["é", "c", "b", "a"])
    assert (tally.items, tally.rows, tally.errors) == (4, 4, 1)
    rows = material.rows(out)
    assert [row["image"] for row in rows] == ["é", "c", "b", "a"], "and what is no item any more is left out"
    assert [row["error"] for row in rows] == ["broken", None, None, None]
    assert rows[2]["score"] in (0.25, 0.75)
    assert [path.name for path in tmp_path.iterdir()] == [out.name]


def test_long_bookkeeping_shows_progress(tmp_path, monkeypatch, capsys):
    """Half a minute for a million items; here the delay of two seconds is left out."""
    import tqdm

    shown = tqdm.tqdm
    monkeypatch.setattr(tqdm, "tqdm", lambda *given, **how: shown(*given, **how | {"delay": 0}))
    output = ResumableOutput(tmp_path / "out.jsonl", COLUMNS, {"work": "a"})
    output.begin()
    with output.open_writer(0) as writer:
        writer.add([done("a"), done("b")])
    output.finished_items()
    assert not capsys.readouterr().err, "of several processes one shows it"
    output.finished_items(show_progress=True)
    assert "finding finished items: 2" in capsys.readouterr().err
    output.finish(["a", "b"])
    assert "writing out.jsonl: 100%" in capsys.readouterr().err


def test_what_is_missing_is_no_output(tmp_path):
    output = ResumableOutput(tmp_path / "out.jsonl", COLUMNS, {"work": "a"})
    output.begin()
    with output.open_writer(0) as writer:
        writer.add([done("a")])
    with pytest.raises(CommandError, match=r"has 1 of 2 items \(not 'b'\)\. Run the same command again"):
        output.finish(["a", "b"])
    assert not output.out.exists()
    assert output.finished_items() == {"a"}


def test_other_work_is_not_gone_on_with(tmp_path):
    ResumableOutput(tmp_path / "out.jsonl", COLUMNS, {"work": "a", "people": {"ada": "1"}}).begin()
    ResumableOutput(tmp_path / "out.jsonl", COLUMNS, {"work": "a", "people": {"ada": "1"}}).begin()
    with pytest.raises(CommandError, match=r"belongs to a run with people .'ada': '1'.; this run has .'ada': '2'."):
        ResumableOutput(tmp_path / "out.jsonl", COLUMNS, {"work": "a", "people": {"ada": "2"}}).begin()
    (tmp_path / "out.jsonl").write_text("whole")
    with pytest.raises(CommandError, match="already exists"):
        ResumableOutput(tmp_path / "out.jsonl", COLUMNS, {"work": "a"}).begin()
    with pytest.raises(CommandError, match=r"expected the suffix \.jsonl or \.parquet"):
        ResumableOutput(tmp_path / "out.csv", COLUMNS, {})


def test_nothing_is_removed_where_the_output_is_there(tmp_path):
    output = ResumableOutput(tmp_path / "out.jsonl", COLUMNS, {"work": "a"})
    output.begin()
    with output.open_writer(0) as writer:
        writer.add([done("a")])
    (tmp_path / "out.jsonl").touch()
    with pytest.raises(CommandError, match=r"already exists and so does the unfinished run .*out\.jsonl\.parts"):
        ResumableOutput(tmp_path / "out.jsonl", COLUMNS, {"work": "a"})
    assert output.finished_items() == {"a"}


def test_another_run_that_has_finished_is_told_of(tmp_path):
    first, second = (ResumableOutput(tmp_path / "out.jsonl", COLUMNS, {"work": "a"}) for _ in range(2))
    first.begin()
    second.begin()
    with first.open_writer(0) as one, second.open_writer(0) as two:
        one.add([done("a")])
        first.finish(["a"])
        two.add([done("a")])
    for late in (lambda: second.finish(["a"]), lambda: second.open_writer(1).__enter__()):
        with pytest.raises(CommandError, match="another run has finished the same work"):
            late()
    assert [path.name for path in tmp_path.iterdir()] == ["out.jsonl"]


def begin_many(place, work, together, said):
    for number in range(40):
        together.wait()
        try:
            ResumableOutput(place / f"{number}.jsonl", COLUMNS, {"work": work}).begin()
            said.put("began")
        except CommandError as error:
            said.put("other" if "belongs to a run with work" in str(error) else repr(error))


@pytest.mark.parametrize("works", [("a", "a"), ("a", "b")])
def test_of_two_that_begin_at_once_both_or_one_do(tmp_path, works):
    fork = multiprocessing.get_context("fork")
    together, said = fork.Barrier(2), fork.Queue()
    both = [fork.Process(target=begin_many, args=(tmp_path, work, together, said)) for work in works]
    for process in both:
        process.start()
    found = [said.get(timeout=60) for _ in range(80)]
    for process in both:
        process.join()
    assert found.count("began") == (80 if works[0] == works[1] else 40)
    assert set(found) <= {"began", "other"}


def test_a_full_disk_says_where(tmp_path, monkeypatch):
    output = ResumableOutput(tmp_path / "out.jsonl", COLUMNS, {"work": "a"})
    output.begin()
    with output.open_writer(0) as writer:
        writer.add([done("a")])

    def full(file):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CommandError, match=r"out\.jsonl cannot be written .No space left on device.. Free some space"):
        output.finish(["a"])
    with (
        pytest.raises(CommandError, match=r"out\.jsonl\.parts cannot be written .No space"),
        output.open_writer(0) as writer,
    ):
        writer.add([done("b")])


@pytest.mark.parametrize("about", ["", "[1]", "gone"])
def test_rows_of_which_nobody_says_what_they_are(tmp_path, about):
    output = ResumableOutput(tmp_path / "out.jsonl", COLUMNS, {"work": "a"})
    output.begin()
    with output.open_writer(0) as writer:
        writer.add([done("a")])
    path = output.folder / "settings.json"
    path.unlink() if about == "gone" else path.write_text(about)
    with pytest.raises(CommandError, match="Remove that folder, or choose another output"):
        output.begin()
