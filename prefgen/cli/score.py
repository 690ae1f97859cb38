"""The command `score`."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..validation import require_text
from .errors import CommandError
from .options import EPILOG, add_shared_options, describe_failures, load_image_encoder, load_model, positive_int


def add_score(commands: argparse._SubParsersAction) -> None:
    """Add the command `score`."""
    parser = commands.add_parser(
        "score",
        help="score a folder of images or a Parquet set",
        description="Score images from 0 (would dislike) to 1 (would like): one row for every image and user.",
        epilog=EPILOG.format(command="score"),
    )
    parser.add_argument(
        "images", type=Path, help="a folder of images, at any depth, a Parquet file, or a folder of them"
    )
    parser.add_argument("out", type=Path, help="output file, .jsonl or .parquet")
    add_shared_options(parser)
    parser.add_argument(
        "--image-encoder",
        default="",
        metavar="FOLDER",
        help="score by all ratings of each user, with a CLIP model in transformers' format, or 'pocket'; replaces "
        "--checkpoint",
    )
    prompts = parser.add_argument_group("prompts that the images were made for")
    prompts.add_argument("--prompt", default="", metavar="TEXT", help="prompt to use for all images (default: none)")
    prompts.add_argument("--captions", action="store_true", help="read prompts from .txt files beside the images")
    columns = parser.add_argument_group("Parquet")
    columns.add_argument(
        "--image-column", default="image", metavar="NAME", help="bytes, or the name of a file (default: image)"
    )
    columns.add_argument("--prompt-column", default="", metavar="NAME", help="prompt of each image")
    columns.add_argument("--id-column", default="", metavar="NAME", help="id of each image, copied to the output")
    parser.add_argument(
        "--batch", type=positive_int, default=32, metavar="N", help="images in a forward pass (default: 32)"
    )
    parser.add_argument(
        "--workers", type=positive_int, default=4, metavar="N", help="threads that decode images (default: 4)"
    )
    parser.set_defaults(run=score)


def score(options: argparse.Namespace) -> str:
    """Score the images and return a summary, which is empty in all but the main process."""
    from .histories import find_users
    from .image_sources import open_source
    from .processes import join_processes
    from .resumable_output import check_output
    from .scoring import ScoreConfig, score_images

    check_output(options.out)  # before anything large is read
    require_text(options.prompt, "--prompt", CommandError)
    processes = join_processes(options.device)
    users = find_users(options.users, options.pairs, options.split)
    source_options = {
        "prompt": options.prompt,
        "captions": options.captions,
        "image_column": options.image_column,
        "prompt_column": options.prompt_column,
        "id_column": options.id_column,
    }
    source = open_source(options.images, **source_options)
    if options.image_encoder:
        model = load_image_encoder(options, processes)
    else:
        model = load_model(options, processes)
    settings = (("images", str(options.images)), ("precision", options.precision), *source_options.items())
    config = ScoreConfig(options.batch, options.workers, settings)
    summary = score_images(model, users, source, options.out, processes, config)
    if summary is None:
        return ""
    text = f"{summary.items:,} images, {len(users):,} users: {summary.rows:,} rows in {options.out}"
    return text + describe_failures(summary.errors, "images could not be scored")
