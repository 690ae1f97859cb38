"""Stores a person's ratings on disk, and turns them into a history.

A profile is a folder: `ratings.jsonl`, to which every like, dislike and undo appends a line, and `images/`, with each
image under the digest of its pixels. No module here imports torch before an image is read.

- `store.py`, `names.py`: open, rate and delete profiles by name
- `ratings.py`: reads and writes the lines
- `images.py`: converts rated images into their stored form
- `durable_files.py`, `lock.py`: protect against crashes and concurrent writers
- `pairing.py`, `pair_selection.py`: derive pairs, and select and read those of a history
- `archive.py`: exports and imports a profile as one file
"""

from .archive import ImportResult, export_profile, import_profile
from .images import StoredImage
from .pair_selection import HistorySelection, read_history, select_history
from .pairing import SELECTION_RULES, RatedPair, SelectionConfig
from .ratings import Rating
from .store import Profile, Profiles

__all__ = [
    "SELECTION_RULES",
    "HistorySelection",
    "ImportResult",
    "Profile",
    "Profiles",
    "RatedPair",
    "Rating",
    "SelectionConfig",
    "StoredImage",
    "export_profile",
    "import_profile",
    "read_history",
    "select_history",
]
