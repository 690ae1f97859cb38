"""The command `encode`."""

from __future__ import annotations

import argparse
from pathlib import Path

from .options import EPILOG, add_shared_options, describe_failures, load_model


def add_encode(commands: argparse._SubParsersAction) -> None:
    """Add the command `encode`."""
    parser = commands.add_parser(
        "encode",
        help="encode many users into user embedding files",
        description="Encode histories into user embedding files, for Load User Embedding and Apply Preference Adapter.",
        epilog=EPILOG.format(command="encode"),
    )
    parser.add_argument("out", type=Path, help="folder for the files")
    add_shared_options(parser)
    parser.add_argument(
        "--index",
        type=Path,
        metavar="FILE",
        help="table of users and files, .jsonl or .parquet (default: OUT/index.jsonl)",
    )
    parser.set_defaults(run=encode)


def encode(options: argparse.Namespace) -> str:
    """Encode the users and return a summary, which is empty in all but the main process."""
    from .encoding import INDEX_FILE, encode_users
    from .histories import find_users
    from .processes import join_processes
    from .resumable_output import check_output

    index = options.index or options.out / INDEX_FILE
    check_output(index)  # before anything large is read
    processes = join_processes(options.device)
    users = find_users(options.users, options.pairs, options.split)
    settings = (("pairs", options.pairs), ("split", options.split), ("precision", options.precision))
    summary = encode_users(load_model(options, processes), users, options.out, index, processes, settings)
    if summary is None:
        return ""
    text = f"{summary.items - summary.errors:,} user embeddings in {options.out}"
    return text + describe_failures(summary.errors, "histories could not be encoded")
