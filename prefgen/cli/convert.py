"""The commands `convert` and `inspect`."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import CheckpointError

POCKET = "pocket"
TRAINED = "trained"
KINDS = {
    "learn-user-pref": "the published LoRA and pickled pool of tokens of learn-user-pref (wenyii/learn-user-pref)",
    "viper": "the published LoRA of ViPer's proxy metric (EPFL-VILAB/Metric-ViPer)",
    TRAINED: "a folder that train.prefdisc wrote to: a run, a stage, or one of its checkpoint-N",
}


def add_convert(commands: argparse._SubParsersAction) -> None:
    """The command `convert`."""
    about = "Make one preference checkpoint, a .safetensors file, of published weights or of a training's folder."
    parser = commands.add_parser(
        "convert", help="published weights, or a training's folder, to one file", description=about
    )
    kinds = "; ".join(f"{kind}: {said}" for kind, said in KINDS.items())
    parser.add_argument("kind", choices=list(KINDS), metavar="KIND", help=kinds)
    parser.add_argument("source", type=Path, help="the folder that holds it; nothing is downloaded")
    parser.add_argument("out", type=Path, help="the file to write, such as ComfyUI/models/prefgen/NAME.safetensors")
    parser.add_argument("--tokens", type=Path, help="learn-user-pref: the pickled pool, where SOURCE has not just one")
    parser.add_argument("--base", metavar="ID", help="published: the base model, if not HuggingFaceM4/idefics2-8b")
    parser.add_argument("--licence", metavar="SPDX", help="of the weights, if not the one they are published under")
    parser.add_argument("--force", action="store_true", help="replace OUT if it is there")
    parser.set_defaults(run=convert)


def add_inspect(commands: argparse._SubParsersAction) -> None:
    """The command `inspect`."""
    about = "Say what a preference checkpoint holds: parts, base model, shapes, fingerprint (checked), licence, sizes."
    parser = commands.add_parser("inspect", help="what a preference checkpoint holds", description=about)
    parser.add_argument("file", help=f'a .safetensors file, or "{POCKET}" for the bundled one')
    parser.add_argument("--json", action="store_true", help="as JSON, with the shape of every tensor")
    parser.set_defaults(run=inspect)


def convert(given: argparse.Namespace) -> str:
    """Convert, and say what came of it. Raises CheckpointError."""
    from ..checkpoint.convert.layouts import LAYOUTS
    from ..checkpoint.convert.published import convert_published
    from ..checkpoint.convert.trained import convert_trained
    from .inspect import as_text, describe

    common = {"licence": given.licence, "force": given.force}
    if given.kind == TRAINED:
        _refuse(given, "tokens", "base")
        return as_text(describe(convert_trained(given.source, given.out, **common)))
    if given.kind != "learn-user-pref":
        _refuse(given, "tokens")
    layout = LAYOUTS[given.kind]
    made = convert_published(layout, given.source, given.out, tokens=given.tokens, base=given.base, **common)
    return as_text(describe(made))


def inspect(given: argparse.Namespace) -> str:
    """Describe a file. Raises CheckpointError."""
    from ..pocket.shapes import weights_path
    from .inspect import as_json, as_text, inspect

    described = inspect(weights_path("preference") if given.file == POCKET else given.file)
    return as_json(described) if given.json else as_text(described)


def _refuse(given: argparse.Namespace, *options: str) -> None:
    for option in options:
        if getattr(given, option) is not None:
            raise CheckpointError(f"--{option} has no meaning for {given.kind}: leave it out.")
