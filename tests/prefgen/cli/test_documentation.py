"""Every command of docs/command-line.md runs, in a folder that has what it names."""

import re
import shlex
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from prefgen.__main__ import main
from prefgen.pocket.shapes import weights_path
from tests.prefgen.checkpoint.convert import published
from tests.prefgen.cli import material

PAGE = Path(__file__).parents[3] / "docs" / "command-line.md"
BLOCK = re.compile(r"```sh\n(.*?)```", re.DOTALL)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """The pack's folder inside a ComfyUI."""
    tmp_path = tmp_path / "ComfyUI" / "custom_nodes" / "prefgen"
    published.write_lora(tmp_path / "downloads" / "Metric-ViPer")
    shutil.copytree(tmp_path / "downloads" / "Metric-ViPer", tmp_path / "downloads" / "learn-user-pref")
    published.write_pool(tmp_path / "downloads" / "learn-user-pref" / "prompt_pool.pt")
    (tmp_path.parents[1] / "models").mkdir()
    stage = tmp_path / "out" / "prefdisc" / "idefics2_8b" / "full" / "stage1"
    stage.mkdir(parents=True)
    shutil.copy(weights_path("preference"), stage / "preference.safetensors")
    published.write_images(tmp_path / "pictures", 2)
    (tmp_path / "shards").mkdir()
    rows = [{"jpg_0": path.read_bytes(), "caption": "a cat"} for path in (tmp_path / "pictures").iterdir()]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "shards" / "0.parquet")
    shutil.copytree(material.PEOPLE, tmp_path / "prefgen" / "pocket" / "people")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def commands():
    lines = [line for block in BLOCK.findall(PAGE.read_text(encoding="utf-8")) for line in block.splitlines()]
    return [line.split(" -m prefgen ", 1)[1] for line in lines]


def test_every_command_of_the_page_runs(place, capsys):
    found = commands()
    assert {line.split()[0] for line in found} == {"convert", "inspect", "score", "encode"}
    for line in found:
        assert main(shlex.split(line)) == 0, (line, capsys.readouterr().err)
    assert len(material.rows(place / "everybody.parquet")) == 4
    assert len(material.rows(place / "embeddings" / "index.jsonl")) == 2


def test_every_option_that_the_page_names_is_there(capsys):
    option = re.compile(r"(?<![\w-])--[a-z][a-z_-]+")
    known = {"--num_processes", "--nproc_per_node"}  # the launchers' own
    for command in ("convert", "inspect", "score", "encode"):
        with pytest.raises(SystemExit):
            main([command, "--help"])
        known |= set(option.findall(capsys.readouterr().out))
    assert set(option.findall(PAGE.read_text(encoding="utf-8"))) <= known
