"""Users and their pairs on disk: a folder with `users.jsonl` and images. The door to every training set.

A line of `users.jsonl` is one user: `{"user": str, "seen": bool, "split": "train" | "validation" | "test", "pairs":
[{"liked": "images/x.webp", "disliked": "images/y.webp", "prompt": str}]}`. A user with pairs in two splits has two
lines. A pair may have a `"caption"`, all that its liked image shows. Images are decoded when a batch needs them.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path

from prefgen.errors import HistoryError

log = logging.getLogger(__name__)

LISTING = "users.jsonl"
SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class PairFiles:
    """One choice: the files of the liked and the disliked image, the prompt, and what the liked image shows ("" for
    none)."""

    liked: Path
    disliked: Path
    prompt: str = ""
    caption: str = ""

    @property
    def images(self) -> tuple[Path, Path]:
        """Liked, then disliked."""
        return self.liked, self.disliked


@dataclass(frozen=True)
class UserPairs:
    """One user's pairs. seen: whether they are among the users trained on (method.md section 1)."""

    user: str
    split: str
    seen: bool
    pairs: tuple[PairFiles, ...]


def read_users(folder: str | Path, split: str, at_least: int = 2) -> tuple[UserPairs, ...]:
    """The users of one split with at least so many pairs: a target, and something to know them by.

    Users with fewer are left out, and counted in the log. Raises HistoryError for a listing that is missing or
    malformed (naming the line), that names a file outside the folder, or that has no such user.
    """
    folder = Path(folder).resolve()
    listing = folder / LISTING
    users, short = [], 0
    try:
        with listing.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                user = _user(folder, line, f"{listing}, line {number}") if line.strip() else None
                if user is None or user.split != split:
                    continue
                short += len(user.pairs) < at_least
                users += [user] if len(user.pairs) >= at_least else []
    except OSError as error:
        raise HistoryError(
            f"{listing} could not be read ({error.strerror}): name a folder made by train.data, or one in its format."
        ) from error
    if short:
        log.info("%s: left out %d users of split %r with fewer than %d pairs", folder.name, short, split, at_least)
    if not users:
        raise HistoryError(
            f"{listing} has no user of split {split!r} with {at_least} pairs or more: "
            f"make the set anew with users of the splits {', '.join(SPLITS)}."
        )
    return tuple(users)


def check_disjoint(first: tuple[UserPairs, ...], second: tuple[UserPairs, ...]) -> None:
    """Raises HistoryError where a user has an image in both: what is measured must not have been trained on.

    A user may be in both with other images: one who is seen in training, and measured on pairs kept from it.
    """
    known = {user.user: {file for pair in user.pairs for file in pair.images} for user in first}
    for user in second:
        both = {file.name for pair in user.pairs for file in pair.images if file in known.get(user.user, ())}
        if both:
            raise HistoryError(
                f"User {user.user!r} has {len(both)} images in split {first[0].split!r} and in {user.split!r} (such as "
                f"{min(both)}), expected none in both: keep the pairs that are measured out of those trained on."
            )


def _user(folder: Path, line: str, where: str) -> UserPairs:
    try:
        row = json.loads(line)
        pairs = tuple(
            PairFiles(
                *(_inside(folder, p[side]) for side in ("liked", "disliked")),
                *(str(p.get(told) or "") for told in ("prompt", "caption")),
            )
            for p in row["pairs"]
        )
        split = row["split"]
        if split not in SPLITS:
            raise ValueError(f"no split {split!r}")
        return UserPairs(str(row["user"]), split, bool(row.get("seen", True)), pairs)
    except HistoryError as error:
        raise HistoryError(f"{where}: {error}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise HistoryError(
            f'{where} is not a user ({error!r}), expected {{"user": ..., "seen": ..., "split": ..., "pairs": '
            '[{"liked": file, "disliked": file, "prompt": text}]}: make the set anew.'
        ) from error


def _inside(folder: Path, name: str) -> Path:
    path = folder / name
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise HistoryError(f"it names {name!r}, which is outside the folder: keep the images beside the listing.")
    return path
