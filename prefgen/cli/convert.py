"""The command `convert`."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..validation import require
from .errors import CommandError

TRAINED = "trained"
KINDS = {
    "learn-user-pref": "the published LoRA and pickled tokens of learn-user-pref (wenyii/learn-user-pref)",
    "viper": "the published LoRA of ViPer's proxy metric (EPFL-VILAB/Metric-ViPer)",
    TRAINED: "a folder written by train.prefdisc: a run, a stage, or one of its checkpoint-N",
}


def add_convert(commands: argparse._SubParsersAction) -> None:
    """Add the command `convert`."""
    parser = commands.add_parser(
        "convert",
        help="convert published or trained weights to one file",
        description="Convert published weights or the folder of a training to one preference checkpoint.",
    )
    kinds = "; ".join(f"{kind}: {description}" for kind, description in KINDS.items())
    parser.add_argument("kind", choices=list(KINDS), metavar="KIND", help=kinds)
    parser.add_argument("source", type=Path, help="folder with the weights; nothing is downloaded")
    parser.add_argument("out", type=Path, help="output file, such as ComfyUI/models/prefgen/NAME.safetensors")
    parser.add_argument(
        "--procedure",
        choices=("scoring", "training"),
        help="published weights: feed images and text as the authors score (default) or as they train",
    )
    parser.add_argument(
        "--square",
        type=int,
        metavar="SIDE",
        help="published weights: resize images to squares of SIDE pixels first, 0 to keep their shape (default: as in "
        "the procedure)",
    )
    parser.add_argument("--tokens", type=Path, help="learn-user-pref: the pickled tokens, if SOURCE has several")
    parser.add_argument(
        "--base", metavar="ID", help="published weights: base model (default: HuggingFaceM4/idefics2-8b)"
    )
    parser.add_argument("--licence", metavar="SPDX", help="licence of the weights (default: the published one)")
    parser.add_argument("--force", action="store_true", help="replace OUT if it exists")
    parser.set_defaults(run=convert)


def convert(options: argparse.Namespace) -> str:
    """Convert the weights and return a description of the checkpoint.

    Raises:
        CheckpointError: The weights cannot be used.
        CommandError: An option does not apply to this kind.
    """
    from ..checkpoint.convert.layouts import LAYOUTS, PROCEDURES
    from ..checkpoint.convert.published import convert_published
    from ..checkpoint.convert.trained import convert_trained
    from .inspect import describe, format_text

    common = {"licence": options.licence, "force": options.force}
    inapplicable = {"learn-user-pref": (), TRAINED: ("tokens", "base", "procedure", "square")}.get(
        options.kind, ("tokens",)
    )
    for name in inapplicable:
        require(getattr(options, name) is None, CommandError, f"--{name} does not apply to {options.kind}. Remove it.")
    if options.kind == TRAINED:
        checkpoint = convert_trained(options.source, options.out, **common)
    else:
        layout = LAYOUTS[options.kind]
        common |= {name: getattr(options, name) for name in ("square", "tokens", "base")}
        procedure = options.procedure or PROCEDURES[0]
        checkpoint = convert_published(layout, options.source, options.out, procedure=procedure, **common)
    return format_text(describe(checkpoint))
