"""Tests every evaluation command end to end with few users: output, files and document sections."""

import importlib
import json

import matplotlib.image
import pytest

from prefgen.checkpoint.preference_model import POCKET, load_preference_model
from train.evaluate import __main__ as everything
from train.evaluate.command import replace_section
from train.pocket.prefdisc import variants as training
from train.pocket.prefdisc.vision_training import PosterTable, draw_posters, encode_posters

SMALL = {
    "prediction": ("--users", "6"),
    "topk": ("--users", "6"),
    "references": ("--users", "6"),
    "clusters": ("--users", "24", "--clusters", "3", "--sweep", "2", "3"),
    "attention": ("--users", "12"),
    "tsne": ("--users", "12"),
    "similar": ("--users", "16"),
}
ACCURACIES = ("unseen", "seen", "no_history", "ideal_no_history", "wrong_history", "bradley_terry", "ideal_observer")
REQUIRED = {*(f"accuracy_{name}" for name in ACCURACIES), "accuracy_true_utility", "stderr", "users", "pairs"}


def run(name, folder, capsys, *more):
    """Run a command, check its output, table, figure and document, and return its result."""
    module = importlib.import_module(f"train.evaluate.{name}")
    document = folder / "evaluation.md"
    arguments = ["--seeds", "2", "--posters", "4", "--out", str(folder / name), "--document", str(document), *more]
    result = module.main(arguments)
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == json.loads(json.dumps(result))
    assert json.loads((folder / name / "result.json").read_text()) == json.loads(json.dumps(result))
    table = (folder / name / "table.md").read_text()
    assert "seeds 0, 1" in table
    assert "| --- |" in table
    assert matplotlib.image.imread(folder / name / "picture.png").shape[0] > 300
    assert f"(evaluation/{name}.png)" in document.read_text()
    assert (folder / "evaluation" / f"{name}.png").stat().st_size > 5000
    return result


@pytest.mark.parametrize("name", SMALL)
def test_a_command_measures_writes_and_draws(name, tmp_path, capsys, few):
    result = run(name, tmp_path, capsys, *SMALL[name])
    assert result["seeds"] == [0, 1]
    assert result["users"] == int(SMALL[name][1])
    if name == "prediction":
        assert not REQUIRED - set(result)
        assert set(result["stderr"]) == {key for key in result if key.startswith("accuracy_")}
        assert result["pairs"] == 6 * 12
        assert set(result["bars"]) == {
            "share",
            "above_bradley_terry",
            "seen_as_unseen",
            "wrong_history_no_better",
        }


@pytest.fixture
def small_trainings(monkeypatch):
    """Use 48 posters, and record the trainings."""
    eyes, trained = load_preference_model(POCKET).prefdisc, []
    images, attributes = draw_posters(48, 7, "train")
    table = encode_posters(eyes, images, attributes, views=1)
    assert isinstance(table, PosterTable)
    train = training.train_variant
    monkeypatch.setattr(training, "load_shipped_vision", lambda folder, posters: (eyes, table))
    monkeypatch.setattr(training, "train_variant", lambda name, *a, **k: trained.append(name) or train(name, *a, **k))
    return trained


def test_variants_are_trained_alike_once(tmp_path, capsys, small_trainings, few):
    told = ("--users", "24", "--steps", "2", "--batch", "3", "--folder", str(tmp_path / "runs"))
    ablation = run("ablation", tmp_path, capsys, *told, "--variants", "no_history", "contrastive", "full")
    assert sorted(small_trainings) == sorted(["no_history", "contrastive", "full"] * 2)
    assert set(ablation["gain_over_the_row_before"]) == {"full"}
    assert "silhouette" not in ablation["no_history"], "without a history there are no users to cluster"
    assert ablation["steps"] == 2
    assert ablation["ideal_observer"]["unseen"]["value"] > ablation["clip_bradley_terry"]["unseen"]["value"]
    small_trainings.clear()
    tokens = run("tokens", tmp_path, capsys, *told, "--variants", "contrastive", "tokens_1", "tokens_4")
    # The variant without tokens and the full model were trained by the ablation.
    assert set(small_trainings) == {"tokens_1"}
    assert list(tokens["counts"]) == ["0", "1", "4"]
    assert tokens["counts"]["4"]["accuracy"] == ablation["full"]["unseen"]
    text = (tmp_path / "evaluation.md").read_text()
    assert text.index("<!-- ablation -->") < text.index("<!-- tokens -->")
    assert "2 training steps of 3 users each, 2 trainings of each variant" in text


def test_another_budget_needs_another_folder(tmp_path):
    told = ["--users", "24", "--batch", "3", "--folder", str(tmp_path / "runs"), "--seeds", "2", "--posters", "4"]
    tokens = importlib.import_module("train.evaluate.tokens")
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "budget.json").write_text('{"steps": 7, "batch": 3, "posters": 12000}')
    with pytest.raises(ValueError, match=r"'steps': 7.*another --folder"):
        tokens.main([*told, "--steps", "2", "--out", str(tmp_path / "out")])


def test_a_section_of_a_document_is_exchanged():
    text = "# Evaluation\n\n<!-- a -->\nold\n<!-- /a -->\n\nbetween\n"
    once = replace_section(replace_section(text, "a", "new"), "b", "more")
    assert once == "# Evaluation\n\n<!-- a -->\nnew\n<!-- /a -->\n\nbetween\n\n<!-- b -->\nmore\n<!-- /b -->\n"
    assert replace_section(once, "b", "more") == once


@pytest.mark.parametrize(
    ("name", "arguments", "told"),
    [
        ("prediction", ["--users", "3", "--seeds", "2"], "two users a seed"),
        ("topk", ["--posters", "5"], "even"),
        ("clusters", ["--seeds", "1"], "intervals are over seeds"),
        ("ablation", ["--variants", "nothing"], "invalid choice"),
    ],
)
def test_options_that_cannot_be_are_told(name, arguments, told, capsys):
    with pytest.raises(SystemExit):
        importlib.import_module(f"train.evaluate.{name}").main(arguments)
    assert told in capsys.readouterr().err


def test_everything_in_one_command(monkeypatch):
    asked = []
    for name in everything.COMMANDS + everything.TRAINING:
        module = importlib.import_module(f"train.evaluate.{name}")
        monkeypatch.setattr(module, "main", lambda argv, name=name: asked.append((name, argv)))
    everything.main(["--skip-training", "--users", "12"])
    assert asked == [(name, ["--users", "12"]) for name in (*SMALL, "generation", "reno")]
    everything.main(["--only", "tokens", "generation"])
    assert asked[-2:] == [("tokens", []), ("generation", ["--ablations"])]
