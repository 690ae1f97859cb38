"""Reads tables of real people's ratings: our own layout, and those of published data sets."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from prefgen.cli.errors import CommandError
from prefgen.validation import require


@dataclass(frozen=True)
class Layout:
    """Columns of a published table with one row per rating.

    Attributes:
        name: The data set.
        person: Column of the person.
        item: Column of the image.
        rating: Column of the rating.
        delimiter: Delimiter of the file.
    """

    name: str
    person: str
    item: str
    rating: str
    delimiter: str = ","


LAYOUTS = (
    Layout("PrefGen", "person", "item", "rating"),
    Layout("LAPIS", "participant_id", "image_filename", "response"),
    Layout("LAPIS", "participant_id", "image_filename", "rating"),
    Layout("PARA", "userId", "imageName", "aestheticScore"),
    Layout("EVA", "user_id", "image_id", "score", "="),
    Layout("FLICKR-AES", "worker", "imagePair", "score"),
)
"""PrefGen's own layout can have further columns: numeric features of the image."""


@dataclass(frozen=True)
class RatingsTable:
    """Graded ratings of people.

    Attributes:
        layout: Name of the layout.
        ratings: Matrix (people, items), NaN where a person did not rate an item. Of several ratings of one item by one
            person, the last one counts.
        features: Features of each item, (items, D), or None.
    """

    layout: str
    ratings: np.ndarray
    features: np.ndarray | None = None


def read_table(path: Path) -> RatingsTable:
    """Read a table: .csv, or .csv.gz.

    Raises:
        CommandError: The file cannot be read, its columns are unknown, or a value is not a number.
    """
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8-sig", newline="") as file:
            layout, columns = _find_layout(file.readline(), path)
            rows = list(csv.reader(file, delimiter=layout.delimiter))
    except (OSError, UnicodeDecodeError) as fault:
        raise CommandError(f"{path} cannot be read ({fault}); expected a table as .csv or .csv.gz.") from fault
    require(rows, CommandError, f"{path} has no rows; expected one for each rating.")
    named = {name: index for index, name in enumerate(columns)}
    try:
        people, items, ratings = ([row[named[name]].strip() for row in rows] for name in _names(layout))
        values = np.array(ratings, dtype=float)
        features = _read_features(rows, items, columns) if layout is LAYOUTS[0] else None
    except (IndexError, ValueError) as fault:
        raise CommandError(f"{path} has a row that cannot be used ({fault}); expected numbers.") from fault
    matrix = np.full((len(set(people)), len(set(items))), np.nan)
    matrix[np.unique(people, return_inverse=True)[1], np.unique(items, return_inverse=True)[1]] = values
    return RatingsTable(layout.name, matrix, features)


def _names(layout: Layout) -> tuple[str, str, str]:
    return layout.person, layout.item, layout.rating


def _find_layout(header: str, path: Path) -> tuple[Layout, list[str]]:
    for layout in LAYOUTS:
        columns = [name.strip().strip('"') for name in header.strip().split(layout.delimiter)]
        if set(_names(layout)) <= set(columns):
            return layout, columns
    known = "; ".join(f"{layout.delimiter.join(_names(layout))} ({layout.name})" for layout in LAYOUTS)
    raise CommandError(f"{path} has the columns {header.strip()[:200]!r}; expected those of {known}.")


def _read_features(rows: Sequence[Sequence[str]], items: Sequence[str], columns: Sequence[str]) -> np.ndarray | None:
    """Return the features of each item from its first row, in the order of `np.unique`, or None without features."""
    indices = [index for index, name in enumerate(columns) if name not in _names(LAYOUTS[0])]
    _, first = np.unique(items, return_index=True)
    return np.array([[float(rows[row][index]) for index in indices] for row in first]) if indices else None
