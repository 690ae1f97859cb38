"""What is done is kept: nothing twice, nothing lost."""

import pytest

from prefgen.offline.errors import OfflineError
from prefgen.offline.ledger import Ledger
from tests.prefgen.offline import material

COLUMNS = {"image": "string", "score": "double", "error": "string"}


def done(item, score=0.5, error=None):
    return item, [{"image": item, "score": score, "error": error}]


@pytest.mark.parametrize("ending", [".jsonl", ".parquet"])
def test_rows_of_several_processes_and_runs_in_the_order_of_the_items(tmp_path, ending):
    out = tmp_path / f"out{ending}"
    ledger = Ledger(out, COLUMNS, {"work": "a"})
    ledger.begin()
    with ledger.writing(0) as first, ledger.writing(1) as second:
        first.add([done("c"), done("é", None, "broken")])
        second.add([done("b", 0.25)])
    with Ledger(out, COLUMNS, {"work": "a"}).writing(0) as again:
        again.add([done("b", 0.75), done("a"), done("gone")])
    assert ledger.done() == {"a", "b", "c", "é", "gone"}
    tally = ledger.finish(["é", "c", "b", "a"])
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
    ledger = Ledger(tmp_path / "out.jsonl", COLUMNS, {"work": "a"})
    ledger.begin()
    with ledger.writing(0) as writer:
        writer.add([done("a"), done("b")])
    ledger.done()
    assert not capsys.readouterr().err, "of several processes one shows it"
    ledger.done(shown=True)
    assert "finding what is done: 2" in capsys.readouterr().err
    ledger.finish(["a", "b"])
    assert "writing out.jsonl: 100%" in capsys.readouterr().err


def test_what_is_missing_is_no_output(tmp_path):
    ledger = Ledger(tmp_path / "out.jsonl", COLUMNS, {"work": "a"})
    ledger.begin()
    with ledger.writing(0) as writer:
        writer.add([done("a")])
    with pytest.raises(OfflineError, match=r"holds 1 of 2 items \(not 'b'\): run the same command again"):
        ledger.finish(["a", "b"])
    assert not ledger.out.exists()
    assert ledger.done() == {"a"}


def test_other_work_is_not_gone_on_with(tmp_path):
    Ledger(tmp_path / "out.jsonl", COLUMNS, {"work": "a", "people": {"ada": "1"}}).begin()
    Ledger(tmp_path / "out.jsonl", COLUMNS, {"work": "a", "people": {"ada": "1"}}).begin()
    with pytest.raises(OfflineError, match=r"holds work begun with people .'ada': '1'., this one has .'ada': '2'."):
        Ledger(tmp_path / "out.jsonl", COLUMNS, {"work": "a", "people": {"ada": "2"}}).begin()
    (tmp_path / "out.jsonl").write_text("whole")
    with pytest.raises(OfflineError, match="is there already"):
        Ledger(tmp_path / "out.jsonl", COLUMNS, {"work": "a"}).begin()
    with pytest.raises(OfflineError, match=r"ends in \.jsonl or \.parquet"):
        Ledger(tmp_path / "out.csv", COLUMNS, {})
