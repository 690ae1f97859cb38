"""The commands `score` and `encode`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ..validation import require_text
from .errors import OfflineError

if TYPE_CHECKING:
    from ..checkpoint.preference_model import PreferenceModel
    from .people import Person
    from .processes import Processes

PRECISIONS = ("auto", "float32", "bfloat16", "float16")
POCKET = "pocket"
PEOPLE = (
    "whose taste; may be given again. A person's folder (pairs.json, or a profile of ComfyUI's), a folder of such "
    "folders, a set of users (users.jsonl), or Parquet with a row a pair (columns user, liked, disliked, prompt)"
)
LAUNCH = (
    "A run that was killed goes on when the same command is given again. Several processes or machines, which must see "
    "the same OUT: accelerate launch --num_processes 8 -m prefgen {command} ..."
)


def add_score(commands: argparse._SubParsersAction) -> None:
    """The command `score`."""
    about = "Score images for people, from 0 (would dislike) to 1 (would like): a row for every image and person."
    parser = commands.add_parser(
        "score",
        help="score a folder or Parquet set of images",
        description=about,
        epilog=LAUNCH.format(command="score"),
    )
    parser.add_argument(
        "images", type=Path, help="a folder of images, at any depth, or Parquet: a file, or a folder of them"
    )
    parser.add_argument("out", type=Path, help="the rows, as its ending says: .jsonl or .parquet")
    _add_common(parser)
    prompts = parser.add_argument_group("what images were made for")
    prompts.add_argument("--prompt", default="", metavar="TEXT", help="all of them (default: no prompt)")
    prompts.add_argument("--captions", action="store_true", help="folders: a .txt file beside an image has its prompt")
    columns = parser.add_argument_group("Parquet")
    columns.add_argument(
        "--image-column", default="image", metavar="NAME", help="bytes, or a file's name (default: image)"
    )
    columns.add_argument("--prompt-column", default="", metavar="NAME", help="the prompt of each image")
    columns.add_argument("--id-column", default="", metavar="NAME", help="a name of each image's own, for the output")
    parser.add_argument("--batch", type=_positive, default=32, metavar="N", help="images in one forward (default: 32)")
    parser.add_argument(
        "--workers", type=_positive, default=4, metavar="N", help="threads that decode images (default: 4)"
    )
    parser.set_defaults(run=score)


def add_encode(commands: argparse._SubParsersAction) -> None:
    """The command `encode`."""
    about = "Read people's histories into user embedding files, for Load User Embedding and Apply Preference Adapter."
    parser = commands.add_parser(
        "encode",
        help="make user embedding files of many people",
        description=about,
        epilog=LAUNCH.format(command="encode"),
    )
    parser.add_argument("out", type=Path, help="the folder that gets the files")
    _add_common(parser)
    parser.add_argument(
        "--index", type=Path, metavar="FILE", help="which file is whose, .jsonl or .parquet (default: OUT/index.jsonl)"
    )
    parser.set_defaults(run=encode)


def score(given: argparse.Namespace) -> str:
    """Score, and say what came of it; nothing in processes that are not the main one."""
    from .images import open_source
    from .ledger import check_output
    from .score import ScoreConfig, score_images

    check_output(given.out)  # before anything large is read
    require_text(given.prompt, "--prompt", OfflineError)
    processes, people = _begin(given)
    options = {
        "prompt": given.prompt,
        "captions": given.captions,
        "image_column": given.image_column,
        "prompt_column": given.prompt_column,
        "id_column": given.id_column,
    }
    source = open_source(given.images, **options)
    model = _model(given, processes)
    about = (("images", str(given.images)), ("precision", given.precision), *options.items())
    config = ScoreConfig(given.batch, given.workers, about)
    tally = score_images(model, people, source, given.out, processes, config)
    if tally is None:
        return ""
    what = f"{tally.items:,} images, {len(people):,} people: {tally.rows:,} rows in {given.out}"
    return what + _failed(tally.errors, "images could not be scored")


def encode(given: argparse.Namespace) -> str:
    """Encode, and say what came of it; nothing in processes that are not the main one."""
    from .encode import INDEX, encode_people
    from .ledger import check_output

    index = given.index or given.out / INDEX
    check_output(index)  # before anything large is read
    processes, people = _begin(given)
    about = (("pairs", given.pairs), ("split", given.split), ("precision", given.precision))
    tally = encode_people(_model(given, processes), people, given.out, index, processes, about)
    if tally is None:
        return ""
    what = f"{tally.items - tally.errors:,} user embeddings in {given.out}"
    return what + _failed(tally.errors, "histories could not be encoded")


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--users", type=Path, action="append", required=True, metavar="PLACE", help=PEOPLE)
    parser.add_argument(
        "--pairs", type=_positive, default=8, metavar="N", help="newest pairs that are read (default: 8)"
    )
    parser.add_argument("--split", default="", help="of a set of users those with this split")
    parser.add_argument(
        "--checkpoint", default=POCKET, metavar="FILE", help="a preference checkpoint (default: pocket)"
    )
    parser.add_argument(
        "--bases",
        type=Path,
        action="append",
        default=[],
        metavar="FOLDER",
        help="where base models are, such as ComfyUI/models/prefgen/base; may be given again",
    )
    parser.add_argument("--device", choices=("cpu",), help="stay off the accelerator")
    help_text = "what PrefDisc computes in (default: auto, bfloat16 on an accelerator but for pocket, else float32)"
    parser.add_argument("--precision", choices=PRECISIONS, default="auto", help=help_text)


def _begin(given: argparse.Namespace) -> tuple[Processes, list[Person]]:
    from .people import find_people
    from .processes import join

    return join(given.device), find_people(given.users, given.pairs, given.split)


def _model(given: argparse.Namespace, processes: Processes) -> PreferenceModel:
    import torch

    from ..checkpoint.preference_model import load_preference_model

    if given.checkpoint != POCKET and not Path(given.checkpoint).is_file():
        raise OfflineError(
            f'{given.checkpoint} is not there, expected a preference checkpoint, or "{POCKET}": name one.'
        )
    half = given.checkpoint != POCKET and processes.device.type != "cpu"
    name = ("bfloat16" if half else "float32") if given.precision == "auto" else given.precision
    return load_preference_model(given.checkpoint, processes.device, getattr(torch, name), given.bases)


def _failed(count: int, what: str) -> str:
    return f"; {count:,} {what}: their rows say why" if count else ""


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is below 1")
    return number
