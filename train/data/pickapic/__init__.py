"""Converts Pick-a-Pic v2 to a dataset of users, filtered and split as in the papers (paper index section 1).

The source is streamed twice: once without images to find the qualifying users, and once for their images. A ledger
on disk keeps the state, so memory does not grow with the source, and an interrupted run can resume.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from PIL import Image

from train.data.pickapic.ledger import Choice, Ledger
from train.data.pickapic.shards import Shards
from train.data.pickapic.splits import SplitConfig, split_users
from train.data.user_sets import LISTING, SetError, new_set, write_file, write_json

log = logging.getLogger(__name__)

REPORT = "report.json"
LEDGER = "ledger.sqlite"
CHOICES = ("user_id", "caption", "created_at", "ranking_id", "image_0_uid", "image_1_uid")
LABELS = ("has_label", "are_different", "label_0", "label_1")
IMAGES = ("image_0_uid", "image_1_uid", "jpg_0", "jpg_1")
EVERY = 500  # rows between two commits of the ledger

Progress = Callable[[Iterable, str], Iterable]


@dataclass(frozen=True)
class PickapicConfig:
    """Settings of the conversion.

    Attributes:
        source: Folder with Parquet shards, or the id of a dataset on the Hub, which needs `allow_download`.
        files: Glob pattern of the shards.
        allow_download: Whether the source may be downloaded.
        at_least: Minimum number of distinct liked images of a user (paper: 11).
        split: Shares of the splits.
    """

    source: str
    files: str = "*.parquet"
    allow_download: bool = False
    at_least: int = 11
    split: SplitConfig = SplitConfig()  # noqa: RUF009 (frozen)


def write_pickapic(out: Path, config: PickapicConfig, progress: Progress = lambda rows, what: rows) -> dict[str, Any]:
    """Write the dataset to `out`, and return its report, which is also written into it.

    Args:
        out: Folder to create.
        config: Settings of the conversion.
        progress: Wraps the iteration over rows; called with the rows and a description.

    Raises:
        SetError: `out` exists, the source cannot be read or has other columns, an interrupted run had other settings,
            or no user qualifies.
    """
    shards = Shards.open(config.source, config.files, config.allow_download)
    with new_set(out, resume=True) as folder:
        with Ledger(folder / LEDGER) as ledger:
            ledger.claim({**asdict(config), "shards": shards.name})
            _read(ledger, "choices", shards, (*CHOICES, *LABELS), progress, lambda row: _take_choice(ledger, row))
            ledger.want_images(config.at_least)
            _read(ledger, "images", shards, IMAGES, progress, lambda row: _take_images(ledger, folder, row))
            report = split_users(ledger, folder, config.at_least, config.split)
            report = {"source": shards.name, "rows": ledger.count("rows"), **report}
            write_json(folder / REPORT, report)
            _remove_unused(ledger, folder)
        for left in folder.glob(f"{LEDGER}*"):
            left.unlink()
    return report


def _read(ledger: Ledger, step: str, shards: Shards, columns: tuple[str, ...], progress: Progress, take) -> None:
    """Stream through the source once, from the last commit of the ledger on."""
    state = ledger.state(step)
    if state == "done":
        return
    if state:
        log.info("Resuming %s after an interruption.", step)
    rows = shards.rows(columns, state)
    for number, row in enumerate(progress(rows, step), 1):
        take(row)
        if number % EVERY == 0:
            ledger.keep(step, rows.state())
    ledger.keep(step, "done")


def _take_choice(ledger: Ledger, row: dict[str, Any]) -> None:
    ledger.add("rows")
    labels = row["label_0"], row["label_1"]
    known = row["has_label"] is not False and row["user_id"] is not None
    if not known or labels not in {(1.0, 0.0), (0.0, 1.0), (0.5, 0.5)}:
        ledger.add("unlabelled")
    elif labels == (0.5, 0.5) or row["are_different"] is False or row["image_0_uid"] == row["image_1_uid"]:
        ledger.add("ties")
    elif not (row["image_0_uid"] and row["image_1_uid"]):
        ledger.add("without_image_id")
    else:
        liked, disliked = row["image_0_uid"], row["image_1_uid"]
        if labels[1] == 1.0:
            liked, disliked = disliked, liked
        at = row["created_at"].isoformat() if isinstance(row["created_at"], datetime) else str(row["created_at"])
        ledger.choose(
            Choice(str(row["user_id"]), liked, disliked, row["caption"] or "", at, int(row["ranking_id"] or 0))
        )


def _take_images(ledger: Ledger, folder: Path, row: dict[str, Any]) -> None:
    for side in ("0", "1"):
        uid = row[f"image_{side}_uid"]
        if not ledger.lacks(uid):
            continue
        content = row[f"jpg_{side}"]
        readable = content is not None and _readable(content)
        if readable:
            write_file(folder / ledger.file_of(uid), content)
        ledger.record_image(uid, readable)


def _readable(content: bytes) -> bool:
    """Return whether all pixels can be decoded. A truncated JPEG can still be opened."""
    try:
        with Image.open(io.BytesIO(content)) as image:
            image.load()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return False
    return True


def _remove_unused(ledger: Ledger, folder: Path) -> None:
    for uid in ledger.unused_images():
        (folder / ledger.file_of(uid)).unlink(missing_ok=True)


__all__ = ["LISTING", "REPORT", "PickapicConfig", "SetError", "SplitConfig", "write_pickapic"]
