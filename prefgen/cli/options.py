"""Options that the commands `score` and `encode` share."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ..validation import require
from .errors import CommandError

if TYPE_CHECKING:
    from ..checkpoint.preference_model import PreferenceModel
    from .processes import Processes

PRECISIONS = ("auto", "float32", "bfloat16", "float16")
POCKET = "pocket"
USERS_HELP = (
    "whose taste; may be repeated. A user's folder (pairs.json, or a profile of ComfyUI), a folder of such folders, a "
    "set of users (users.jsonl), or Parquet with one row for each pair (columns user, liked, disliked, prompt)"
)
EPILOG = (
    "Run the same command again to resume an interrupted run. To use several processes or machines with a shared OUT: "
    "accelerate launch --num_processes 8 -m prefgen {command} ..."
)


def add_shared_options(parser: argparse.ArgumentParser) -> None:
    """Add the options for users, checkpoint and device."""
    parser.add_argument("--users", type=Path, action="append", required=True, metavar="PLACE", help=USERS_HELP)
    parser.add_argument(
        "--pairs", type=positive_int, default=8, metavar="N", help="number of newest pairs to read (default: 8)"
    )
    parser.add_argument("--split", default="", help="for a set of users: use only this split")
    parser.add_argument("--checkpoint", default=POCKET, metavar="FILE", help="preference checkpoint (default: pocket)")
    add_bases_option(parser, "folder of base models, such as ComfyUI/models/prefgen/base; may be repeated")
    parser.add_argument("--device", choices=("cpu",), help="do not use the accelerator")
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        default="auto",
        help="number format of PrefDisc (default: auto, which is bfloat16 on an accelerator, except for pocket, and "
        "float32 elsewhere)",
    )


def add_bases_option(parser: argparse.ArgumentParser, description: str) -> None:
    """Add --bases, which may be repeated."""
    parser.add_argument("--bases", type=Path, action="append", default=[], metavar="FOLDER", help=description)


def load_model(options: argparse.Namespace, processes: Processes) -> PreferenceModel:
    """Load the checkpoint on the device of this process.

    Raises:
        CommandError: The checkpoint does not exist.
        CheckpointError: It cannot be loaded.
    """
    import torch

    from ..checkpoint.preference_model import load_preference_model

    if options.checkpoint != POCKET and not Path(options.checkpoint).is_file():
        raise CommandError(f'{options.checkpoint} does not exist; expected a preference checkpoint, or "{POCKET}".')
    use_bfloat16 = options.checkpoint != POCKET and processes.device.type != "cpu"
    name = ("bfloat16" if use_bfloat16 else "float32") if options.precision == "auto" else options.precision
    return load_preference_model(options.checkpoint, processes.device, getattr(torch, name), options.bases)


def load_image_encoder(options: argparse.Namespace, processes: Processes) -> PreferenceModel:
    """Create a preference model from the CLIP model of --image-encoder, in float32.

    Raises:
        CheckpointError: It cannot be loaded.
    """
    from ..checkpoint.clip_vision_model import load_clip_preference_model

    return load_clip_preference_model(options.image_encoder, processes.device)


def describe_failures(count: int, problem: str) -> str:
    """Return the end of a summary that counts failures, or ""."""
    return f"; {count:,} {problem}: see the column error" if count else ""


def positive_int(text: str) -> int:
    """Parse a whole number of at least 1 for argparse."""
    number = int(text)
    require(number >= 1, argparse.ArgumentTypeError, f"{text} is below 1")
    return number
