"""Writes datasets of users: a folder with `users.jsonl`, images and reports.

A dataset gets its name when it is complete. A line of `users.jsonl` is one user: `{"user": str, "seen": bool, "split":
"train" | "validation" | "test", "pairs": [{"liked": "images/x.webp", "disliked": "images/y.webp", "prompt": str,
"caption": str}]}`. A user with pairs in two splits has two lines. `train.prefdisc.dataset` reads the format.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from prefgen.errors import PrefGenError

LISTING = "users.jsonl"
IMAGES = "images"


class SetError(PrefGenError):
    """A dataset of users, or its source, is invalid."""


@dataclass(frozen=True)
class Pair:
    """A preference pair: files relative to the dataset's folder, the prompt, and a caption of the liked image or ""."""

    liked: str
    disliked: str
    prompt: str
    caption: str = ""


@dataclass(frozen=True)
class User:
    """A line of the listing. `seen` is True for training users."""

    user: str
    seen: bool
    split: str
    pairs: tuple[Pair, ...]

    @property
    def images(self) -> set[str]:
        """All image files of the user's pairs."""
        return {name for pair in self.pairs for name in (pair.liked, pair.disliked)}


@contextmanager
def new_set(out: Path, *, resume: bool = False) -> Iterator[Path]:
    """Create a folder to write a dataset into, and rename it to `out` when the block ends without an error.

    Args:
        out: Final folder.
        resume: Whether to keep the `out`.partial folder of an interrupted run. Otherwise it is removed.

    Raises:
        SetError: `out` exists.
    """
    out = Path(out)
    if out.exists():
        raise SetError(f"{out} already exists. Remove it, or pass another --out.")
    partial = out.with_name(out.name + ".partial")
    if partial.exists() and not resume:
        shutil.rmtree(partial)
    partial.mkdir(parents=True, exist_ok=True)
    yield partial
    partial.rename(out)


def write_users(folder: Path, users: Iterable[User]) -> None:
    """Write the listing atomically, one user at a time."""
    temporary = folder / f"{LISTING}.writing"
    with temporary.open("w", encoding="utf-8") as listing:
        for user in users:
            listing.write(json.dumps(asdict(user)) + "\n")
    os.replace(temporary, folder / LISTING)


def read_rows(folder: Path) -> list[User]:
    """Read the listing of a dataset without its images.

    Raises:
        SetError: The listing is missing, or a line is malformed.
    """
    listing, users = Path(folder) / LISTING, []
    try:
        for line in listing.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            users.append(User(**{**row, "pairs": tuple(Pair(**pair) for pair in row["pairs"])}))
    except OSError as error:
        raise SetError(f"{listing} cannot be read ({error.strerror}). Pass a dataset of train.data.") from error
    except (ValueError, KeyError, TypeError) as error:
        line = f"{listing}, line {len(users) + 1}"
        raise SetError(f"{line} is not a user ({error!r}). Create the dataset again.") from error
    return users


def write_json(file: Path, value: object) -> None:
    """Write JSON atomically, with one key per line."""
    write_file(file, (json.dumps(value, indent=1) + "\n").encode())


def write_file(file: Path, content: bytes) -> None:
    """Write bytes to a temporary file and rename it, so that a crash leaves no incomplete file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(file.name + ".writing")
    temporary.write_bytes(content)
    os.replace(temporary, file)
