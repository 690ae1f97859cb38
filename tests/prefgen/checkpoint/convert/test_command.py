"""`python -m prefgen` explains itself; `convert` and `inspect` from the command line."""

import json

import pytest
import torch
from safetensors.torch import save_file

from prefgen.__main__ import main
from prefgen.checkpoint.file import read_checkpoint, write_part
from prefgen.pocket.shapes import weights_path
from tests.prefgen.checkpoint.convert import published

COMMANDS = ("convert", "inspect", "score", "encode")


def test_no_arguments_show_every_command(capsys):
    assert main([]) == 2
    said = capsys.readouterr().err
    assert all(f"\n    {command}" in said for command in COMMANDS)


@pytest.mark.parametrize("arguments", [["paint"], ["score"], ["inspect", "a", "b"], ["score", "x", "y.jsonl"]])
def test_wrong_arguments_say_where_help_is(capsys, arguments):
    with pytest.raises(SystemExit) as left:
        main(arguments)
    said = capsys.readouterr().err
    assert left.value.code == 2
    assert said.startswith("usage: python -m prefgen")
    assert "--help for an explanation." in said


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_is_explained(capsys, command):
    with pytest.raises(SystemExit) as left:
        main([command, "--help"])
    assert left.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    options = [i for i, line in enumerate(lines) if line.startswith("  -")]
    assert options
    # its help stands on its line, or on the next one, further in
    assert all(len(lines[i].split("  ")) > 2 or lines[i + 1].startswith(" " * 20) for i in options)


def test_convert_and_inspect(tmp_path, capsys):
    published.write_lora(tmp_path / "downloaded")
    published.write_pool(tmp_path / "pool.pt")
    out = str(tmp_path / "made.safetensors")
    arguments = ["convert", "learn-user-pref", str(tmp_path / "downloaded"), out, "--tokens", str(tmp_path / "pool.pt")]
    assert main(arguments) == 0
    said = capsys.readouterr().out
    assert main(["inspect", out]) == 0
    assert capsys.readouterr().out == said
    made = read_checkpoint(out)
    for fact in (made.fingerprint, "MIT", published.ID, "5 x 32", "MiB", "alpha 8.0, r 8"):
        assert fact in said
    assert main(["inspect", out, "--json"]) == 0
    described = json.loads(capsys.readouterr().out)
    assert described["fingerprint"] == made.fingerprint
    assert (described["licence"], described["base"]) == ("MIT", published.ID)
    part = described["parts"]["prefdisc"]
    assert part["shapes"]["tokens"] == [published.TOKENS, 32]
    assert part["tensors"] == len(part["shapes"]) == len(made.tensors)
    held = sum(tensor.nbytes for tensor in made.tensors.values()) / 2**20
    assert part["mib"] == pytest.approx(held, abs=0.005)  # two decimals are shown


def test_the_bundled_checkpoint_has_all_parts(capsys):
    assert main(["inspect", "pocket", "--json"]) == 0
    described = json.loads(capsys.readouterr().out)
    assert set(described["parts"]) == {"prefdisc", "alignment", "adapter"}
    assert described["licence"] == "Apache-2.0"


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("missing", "could not be read"),
        ("picture", "is not a complete .safetensors file"),
        ("lora", "has no PrefGen header; expected a PrefGen preference checkpoint"),
        ("base", "is a PrefGen 'base model'; expected a PrefGen 'preference checkpoint'"),
    ],
)
def test_inspect_says_what_a_file_is_not(tmp_path, capsys, kind, message):
    path = tmp_path / "some.safetensors"
    if kind == "picture":
        path = published.write_images(tmp_path, 1)[0]
    elif kind == "lora":
        save_file({"a": torch.zeros(2)}, path)
    elif kind == "base":
        path = weights_path("prefdisc")
    assert main(["inspect", str(path)]) == 1
    said = capsys.readouterr().err
    assert said.startswith("prefgen: ")
    assert message in said


def test_a_file_cannot_write_lines_of_its_own(tmp_path, capsys):
    path = tmp_path / "odd.safetensors"
    words = {"base": "\x1b[31mX\nfingerprint  fine", "revision": 5, "turn": "a\x1b[2J"}
    write_part(path, "prefdisc", words, {"a\nb\x1b": torch.zeros(1)}, licence="\x1b]0;own\x07\r\nMIT\u202e")
    assert main(["inspect", str(path)]) == 0
    said = capsys.readouterr().out
    assert all(line.isprintable() for line in said.split("\n"))
    assert [line for line in said.splitlines() if line.startswith("fingerprint")] == [
        f"fingerprint  {read_checkpoint(path).fingerprint}"
    ]
    assert r"\x1b[31mX\nfingerprint  fine (revision 5)" in said


def test_json_is_json_where_a_header_has_nan(tmp_path, capsys):
    path = tmp_path / "odd.safetensors"
    numbers = {"a": [float("nan"), 1.5], "b": float("inf")}
    write_part(path, "prefdisc", {"base": "some/base"}, {"a": torch.zeros(1)}, training={"prefdisc": numbers})
    assert main(["inspect", str(path), "--json"]) == 0
    described = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert described["training"]["prefdisc"] == {"a": ["nan", 1.5], "b": "inf"}


def test_options_without_a_meaning_are_refused(tmp_path, capsys):
    assert main(["convert", "viper", str(tmp_path), str(tmp_path / "x.safetensors"), "--tokens", "t.pt"]) == 1
    assert "--tokens does not apply to viper" in capsys.readouterr().err
    assert main(["convert", "trained", str(tmp_path), str(tmp_path / "x.safetensors"), "--base", "b"]) == 1
    assert "--base does not apply to trained" in capsys.readouterr().err
    for option, value in {"--procedure": "training", "--square": "512"}.items():
        arguments = ["convert", "trained", str(tmp_path), str(tmp_path / "x.safetensors"), option, value]
        assert main(arguments) == 1
        assert f"{option} does not apply to trained" in capsys.readouterr().err


def test_the_procedure_is_chosen_on_the_command_line(tmp_path, capsys):
    published.write_lora(tmp_path / "downloaded")
    out = str(tmp_path / "made.safetensors")
    arguments = ["convert", "viper", str(tmp_path / "downloaded"), out, "--force"]
    for option, open_space in ((["--procedure", "training"], None), (["--procedure", "scoring"], True), ([], True)):
        assert main([*arguments, *option]) == 0
        assert read_checkpoint(out).header["prefdisc"].get("open_space") is open_space
    assert "procedure 'scoring'" in capsys.readouterr().out
