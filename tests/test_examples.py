"""The examples run, and use only the public API of prefgen. So do the snippets of the paper index."""

import ast
import re
import runpy
import sys
from pathlib import Path

import pytest
from PIL import Image
from safetensors import safe_open

import prefgen
from tests.tiny_pipeline import write_pipeline

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = sorted((ROOT / "docs" / "examples").glob("*.py"))
PEOPLE = ROOT / "prefgen" / "pocket" / "people"
SNIPPETS = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "paper-index.md").read_text(encoding="utf-8"), re.DOTALL)


def run(monkeypatch, name, *arguments):
    monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
    runpy.run_path(str(ROOT / "docs" / "examples" / name), run_name="__main__")


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_use_the_public_api_only(path):
    tree = ast.parse(path.read_text())
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not [name for name in imported if name and name.split(".")[0] in ("prefgen", "nodes", "train")]
    used = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "prefgen"
    }
    assert used
    assert used <= set(prefgen.__all__)


def test_every_public_name_exists():
    assert all(getattr(prefgen, name) is not None for name in prefgen.__all__)
    assert set(prefgen.__all__) <= set(dir(prefgen))
    with pytest.raises(AttributeError, match="nothing"):
        _ = prefgen.nothing


def test_score_images_prints_the_best_first(monkeypatch, capsys):
    run(monkeypatch, "score_images.py", *sorted((PEOPLE / "bo").glob("liked_[01].png")), "--user", PEOPLE / "ada")
    scores = [float(line.split()[0]) for line in capsys.readouterr().out.splitlines()]
    assert len(scores) == 2
    assert scores == sorted(scores, reverse=True)


def test_encode_blend_save_writes_an_embedding(monkeypatch, capsys, tmp_path):
    run(monkeypatch, "encode_blend_save.py", "ada", "bo", "--out", tmp_path / "both.safetensors")
    assert re.match(r"distance 0\.[1-9]\d* ", capsys.readouterr().out)
    with safe_open(tmp_path / "both.safetensors", "pt") as file:
        assert {"sem", "core", "img"} <= set(file.keys())


def test_optimize_noise_with_diffusers_raises_the_score(monkeypatch, capsys, tmp_path):
    options = {"pipeline": write_pipeline(tmp_path / "tiny"), "prompt": "a sun", "iterations": 4, "size": 64}
    arguments = [text for name, value in options.items() for text in (f"--{name}", value)]
    run(monkeypatch, "optimize_noise_with_diffusers.py", *arguments, "--out", tmp_path / "out.png")
    best = [float(score) for score in re.findall(r"best score ([\d.]+)", capsys.readouterr().out)]
    assert len(best) == 4
    assert best[-1] >= best[0]
    with Image.open(tmp_path / "out.png") as image:
        assert image.size == (64, 64)


@pytest.mark.parametrize("snippet", SNIPPETS, ids=range(1, len(SNIPPETS) + 1))
def test_snippets_of_the_paper_index_run(snippet):
    exec(snippet, {})  # noqa: S102
