"""Sets of users on disk: a folder with `users.jsonl`, images, and reports. Whole, or not there at all.

A line of `users.jsonl` is one user: `{"user": str, "seen": bool, "split": "train" | "validation" | "test", "pairs":
[{"liked": "images/x.webp", "disliked": "images/y.webp", "prompt": str, "caption": str}]}`. A user with pairs in two
splits has two lines. `train.prefdisc.dataset` reads it.
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
    """A set of users, or the source of one, that cannot be used."""


@dataclass(frozen=True)
class Pair:
    """One choice: files relative to the set's folder, the prompt, and all that the liked image shows, where known."""

    liked: str
    disliked: str
    prompt: str
    caption: str = ""


@dataclass(frozen=True)
class User:
    """One user's line. seen: whether the user is among those trained on."""

    user: str
    seen: bool
    split: str
    pairs: tuple[Pair, ...]

    @property
    def images(self) -> set[str]:
        """Every file the user's pairs name."""
        return {name for pair in self.pairs for name in (pair.liked, pair.disliked)}


@contextmanager
def new_set(out: Path, *, resume: bool = False) -> Iterator[Path]:
    """A folder to write a set into; it becomes `out` where the block ends without an error.

    What an interrupted run left in `out`.partial is kept where `resume`, and removed where not. Raises SetError where
    `out` is there already.
    """
    out = Path(out)
    if out.exists():
        raise SetError(f"{out} exists, expected a folder to be made: remove it, or name another with --out.")
    partial = out.with_name(out.name + ".partial")
    if partial.exists() and not resume:
        shutil.rmtree(partial)
    partial.mkdir(parents=True, exist_ok=True)
    yield partial
    partial.rename(out)


def write_users(folder: Path, users: Iterable[User]) -> None:
    """Write the listing, a user at a time, whole or not at all."""
    passing = folder / f"{LISTING}.writing"
    with passing.open("w", encoding="utf-8") as listing:
        for user in users:
            listing.write(json.dumps(asdict(user)) + "\n")
    os.replace(passing, folder / LISTING)


def read_rows(folder: Path) -> list[User]:
    """The listing of a set as it stands, images unread. Raises SetError where there is none or a line is malformed."""
    listing, users = Path(folder) / LISTING, []
    try:
        for line in listing.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            users.append(User(**{**row, "pairs": tuple(Pair(**pair) for pair in row["pairs"])}))
    except OSError as error:
        raise SetError(f"{listing} could not be read ({error.strerror}): name a set made by train.data.") from error
    except (ValueError, KeyError, TypeError) as error:
        line = f"{listing}, line {len(users) + 1}"
        raise SetError(f"{line} is not a user ({error!r}), expected one of train.data: make the set anew.") from error
    return users


def write_json(file: Path, value: object) -> None:
    """Write JSON, one key a line, whole or not at all."""
    write_file(file, (json.dumps(value, indent=1) + "\n").encode())


def write_file(file: Path, content: bytes) -> None:
    """Write bytes under a passing name first, so that a crash leaves no half file under the final one."""
    file.parent.mkdir(parents=True, exist_ok=True)
    passing = file.with_name(file.name + ".writing")
    passing.write_bytes(content)
    os.replace(passing, file)
