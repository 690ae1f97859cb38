"""Stores what a run computes, so that it is resumed only with the same settings."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..validation import errors_as
from .errors import CommandError
from .row_files import write_and_sync

SETTINGS_FILE = "settings.json"
REMOVE_FOLDER = "Remove that folder, or choose another output."


def write_settings(folder: Path, settings: Mapping[str, Any]) -> None:
    """Store the settings of a new run, unless a concurrent run has stored its own.

    Raises:
        CommandError: The folder has rows without settings.
    """
    path = folder / SETTINGS_FILE
    if any(folder.glob("*.jsonl")) and not path.exists():
        raise CommandError(f"{folder} has rows but no {SETTINGS_FILE}. {REMOVE_FOLDER}")
    temporary = temporary_file(folder)
    write_and_sync(temporary, [json.dumps(settings, indent=1).encode()])
    try:
        os.link(temporary, path)  # unlike a move, this keeps a file that another run has written in the meantime
    except FileExistsError:
        pass
    except OSError:  # a file system without hard links
        os.replace(temporary, path)
    temporary.unlink(missing_ok=True)


def require_same_settings(folder: Path, settings: Mapping[str, Any]) -> None:
    """Compare the settings with the stored ones.

    Raises:
        CommandError: They differ, or the stored ones are damaged.
    """
    path = folder / SETTINGS_FILE
    with errors_as(CommandError, f"{path} is damaged", REMOVE_FOLDER, (ValueError, TypeError)):
        stored = dict(json.loads(path.read_text(encoding="utf-8")))
    different = sorted(key for key in stored.keys() | settings.keys() if stored.get(key) != settings.get(key))
    if different:
        old, new = _differing_entries(stored.get(different[0]), settings.get(different[0]))
        difference = f"{different[0]} {_shorten(old)}; this run has {_shorten(new)}"
        raise CommandError(f"{folder} belongs to a run with {difference}. {REMOVE_FOLDER}")


def temporary_file(folder: Path) -> Path:
    """Return a new path in the folder that no other run uses."""
    return folder / f"{secrets.token_hex(8)}.writing"


def _differing_entries(old: Any, new: Any) -> tuple[Any, Any]:
    """Reduce two dictionaries to the entries that differ."""
    if not isinstance(old, dict) or not isinstance(new, dict):
        return old, new
    keys = {key for key in old.keys() | new.keys() if old.get(key) != new.get(key)}
    return tuple({key: value for key, value in table.items() if key in keys} for table in (old, new))


def _shorten(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 160 else f"{text[:160]}..."
