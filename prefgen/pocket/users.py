"""The users whose histories come with the pack, one folder each."""

from __future__ import annotations

from pathlib import Path

from ..history import PAIRS_FILE, UserHistory

BUNDLED_USERS_FOLDER = Path(__file__).parent / "people"


def bundled_users() -> list[str]:
    """Return the names of the bundled users, sorted."""
    return sorted(path.parent.name for path in BUNDLED_USERS_FOLDER.glob(f"*/{PAIRS_FILE}"))


def bundled_history(name: str) -> UserHistory:
    """Read the history of a bundled user, such as "ada"."""
    return UserHistory.from_folder(BUNDLED_USERS_FOLDER / name)
