"""Reads datasets of users. A dataset is a folder with `users.jsonl` and images.

Each line of `users.jsonl` describes one user: `{"user": str, "seen": bool, "split": "train" | "validation" | "test",
"pairs": [{"liked": "images/x.webp", "disliked": "images/y.webp", "prompt": str}]}`. A user with pairs in two splits has
two lines. A pair may have a `"caption"`, a full description of its liked image. Images are decoded when needed.
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
    """Image files of a preference pair, its prompt, and a caption of the liked image. Both texts may be ""."""

    liked: Path
    disliked: Path
    prompt: str = ""
    caption: str = ""

    @property
    def images(self) -> tuple[Path, Path]:
        """The liked image, then the disliked image."""
        return self.liked, self.disliked


@dataclass(frozen=True)
class UserPairs:
    """Pairs of one user. `seen` is True for training users (paper index section 1)."""

    user: str
    split: str
    seen: bool
    pairs: tuple[PairFiles, ...]


def read_users(folder: str | Path, split: str, at_least: int = 2) -> tuple[UserPairs, ...]:
    """Read the users of one split.

    Args:
        folder: The dataset.
        split: Split of the dataset.
        at_least: Minimum number of pairs per user. Users with fewer pairs are skipped, and the number of skipped users
            is logged. The default allows one target and one history pair.

    Raises:
        HistoryError: users.jsonl is missing or malformed, names a file outside the folder, or has no user with enough
            pairs.
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
            f"{listing} cannot be read ({error.strerror}). Pass a dataset folder in the format that train.data writes."
        ) from error
    if short:
        log.info("%s: skipped %d users of split %r with fewer than %d pairs.", folder.name, short, split, at_least)
    if not users:
        raise HistoryError(
            f"{listing} has no user with at least {at_least} pairs in split {split!r}. Create the dataset "
            f"with users in the splits {', '.join(SPLITS)}."
        )
    return tuple(users)


def check_disjoint(first: tuple[UserPairs, ...], second: tuple[UserPairs, ...]) -> None:
    """Check that no user has the same image in two splits. A user may be in both splits with different images.

    Raises:
        HistoryError: A user has an image in both splits.
    """
    images = {user.user: {file for pair in user.pairs for file in pair.images} for user in first}
    for user in second:
        shared = {file.name for pair in user.pairs for file in pair.images if file in images.get(user.user, ())}
        if shared:
            raise HistoryError(
                f"User {user.user!r} has {len(shared)} images in both split {first[0].split!r} and {user.split!r} "
                f"(for example {min(shared)}). Remove pairs with these images from one of the splits."
            )


def _user(folder: Path, line: str, where: str) -> UserPairs:
    try:
        row = json.loads(line)
        pairs = tuple(
            PairFiles(
                *(_inside(folder, p[side]) for side in ("liked", "disliked")),
                *(str(p.get(text) or "") for text in ("prompt", "caption")),
            )
            for p in row["pairs"]
        )
        split = row["split"]
        if split not in SPLITS:
            raise ValueError(f"split is {split!r}")
        return UserPairs(str(row["user"]), split, bool(row.get("seen", True)), pairs)
    except HistoryError as error:
        raise HistoryError(f"{where}: {error}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise HistoryError(
            f'{where} is not a valid user ({error!r}); expected {{"user": ..., "seen": ..., "split": ..., "pairs": '
            '[{"liked": file, "disliked": file, "prompt": text}]}.'
        ) from error


def _inside(folder: Path, name: str) -> Path:
    path = folder / name
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise HistoryError(f"The image {name!r} is outside the dataset folder. Move it into the folder.")
    return path
