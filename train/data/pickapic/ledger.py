"""State of a conversion in an SQLite file: choices, images and counts."""

from __future__ import annotations

import hashlib
import json
import re
import sqlite3
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from train.data.user_sets import IMAGES, SetError

_TABLES = """
create table if not exists settings (name text primary key, value text);
create table if not exists counts (name text primary key, n integer not null);
create table if not exists choices (
    user text, liked text, disliked text, prompt text, at text, ranking integer,
    primary key (user, liked, disliked, prompt)
) without rowid;
create table if not exists images (uid text primary key, readable integer, split text) without rowid;
"""
_WHOLE = """choices
    join images l on l.uid = choices.liked and l.readable = 1
    join images d on d.uid = choices.disliked and d.readable = 1"""


@dataclass(frozen=True)
class Choice:
    """A valid row of the source, with image uids. `at` (ISO 8601) orders the choices of a user."""

    user: str
    liked: str
    disliked: str
    prompt: str
    at: str
    ranking: int


class Ledger:
    """The state of a conversion. As a context manager it rolls back to the last `keep` after an error."""

    def __init__(self, file: Path) -> None:
        self._base = sqlite3.connect(file)
        self._base.executescript(_TABLES)

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, kind, error, trace) -> None:
        self._base.commit() if kind is None else self._base.rollback()
        self._base.close()

    def claim(self, settings: dict[str, Any]) -> None:
        """Start a run, or resume one with the same settings.

        Raises:
            SetError: The interrupted run had other settings.
        """
        previous, current = self._setting("run"), json.dumps(settings, sort_keys=True)
        if previous not in (None, current):
            raise SetError(
                f"The interrupted run had the settings {previous}; this run has {current}. Use the settings of the "
                "interrupted run, or remove its folder."
            )
        self._set("run", current)
        self._base.commit()

    def state(self, step: str) -> Any:
        """Return the last committed state of a step, or None."""
        value = self._setting(step)
        return value and json.loads(value)

    def keep(self, step: str, state: Any) -> None:
        """Commit all changes together with the state of a step."""
        self._set(step, json.dumps(state))
        self._base.commit()

    def add(self, name: str, n: int = 1) -> None:
        """Add n to a counter."""
        self._base.execute(
            "insert into counts values (?, ?) on conflict (name) do update set n = n + excluded.n", (name, n)
        )

    def count(self, name: str) -> int:
        """Return the value of a counter."""
        row = self._base.execute("select n from counts where name = ?", (name,)).fetchone()
        return row[0] if row else 0

    def choose(self, choice: Choice) -> None:
        """Add a choice. An existing one is counted as a duplicate."""
        new = self._base.execute("insert or ignore into choices values (?, ?, ?, ?, ?, ?)", astuple(choice)).rowcount
        if not new:
            self.add("duplicates")

    def want_images(self, at_least: int) -> None:
        """Request all images of the users with at least `at_least` distinct liked images."""
        for side in ("liked", "disliked"):
            self._base.execute(
                f"""insert or ignore into images (uid) select {side} from choices where user in
                (select user from choices group by user having count(distinct liked) >= ?)""",
                (at_least,),
            )
        self._base.commit()

    def lacks(self, uid: str | None) -> bool:
        """Return whether an image is requested and has no readable copy yet."""
        row = self._base.execute("select coalesce(readable, 0) from images where uid = ?", (uid,)).fetchone()
        return row is not None and not row[0]

    def record_image(self, uid: str, readable: bool) -> None:
        """Record that a requested image was found."""
        self._base.execute("update images set readable = ? where uid = ?", (int(readable), uid))

    @staticmethod
    def file_of(uid: str) -> str:
        """Return the file of an image in the dataset: one of 256 folders, and a safe name for any uid."""
        digest = hashlib.sha256(uid.encode()).hexdigest()
        name = uid if re.fullmatch(r"[\w-]{1,64}", uid, re.ASCII) else digest
        return f"{IMAGES}/{digest[:2]}/{name}.jpg"

    def broken_images(self) -> int:
        """Return the number of requested images that are broken or missing."""
        return self._number("select count(*) from images where coalesce(readable, 0) = 0")

    def broken_choices(self) -> int:
        """Return the number of choices of qualifying users with a broken or missing image."""
        requested_choices = self._number("select count(*) from choices where liked in (select uid from images)")
        return requested_choices - self._number(f"select count(*) from {_WHOLE}")

    def all_users(self) -> int:
        """Return the number of users with at least one choice."""
        return self._number("select count(distinct user) from choices")

    def users(self, at_least: int) -> list[str]:
        """Return users with `at_least` distinct liked images, counting choices with two readable images only."""
        return [
            user
            for (user,) in self._base.execute(
                f"select user from {_WHOLE} group by user having count(distinct liked) >= ? order by user", (at_least,)
            )
        ]

    def choices(self, user: str) -> list[Choice]:
        """Return the choices of a user with two readable images, oldest first."""
        rows = self._base.execute(
            f"select choices.* from {_WHOLE} where user = ? order by at, ranking, choices.liked, choices.disliked",
            (user,),
        )
        return [Choice(*row) for row in rows]

    def use(self, uid: str, split: str) -> None:
        """Record the split of an image."""
        self._base.execute("update images set split = ? where uid = ?", (split, uid))

    def split_of(self, uid: str) -> str | None:
        """Return the split of an image."""
        return self._base.execute("select split from images where uid = ?", (uid,)).fetchone()[0]

    def unused_images(self) -> Iterator[str]:
        """Return the written images that are in no split."""
        yield from (uid for (uid,) in self._base.execute("select uid from images where readable and split is null"))

    def _number(self, query: str) -> int:
        return self._base.execute(query).fetchone()[0]

    def _setting(self, name: str) -> str | None:
        row = self._base.execute("select value from settings where name = ?", (name,)).fetchone()
        return row and row[0]

    def _set(self, name: str, value: str) -> None:
        self._base.execute("insert or replace into settings values (?, ?)", (name, value))
