"""A person's ratings on disk, and the history that they make.

A profile is a folder: `ratings.jsonl`, to which every like, dislike and undo appends one line, and `images/`, each
image under the digest of its pixels. `ratings.py` reads and writes the lines, `store.py` is the door to profiles,
`lock.py` keeps writers apart, `pictures.py` turns what people send into what is kept, `pairing.py` derives and chooses
pairs, `taste.py` reads them as a history, `archive.py` packs a profile into one file. Nothing here imports torch before
an image is read.
"""

from .archive import Imported, export_profile, import_profile
from .images import StoredImage
from .pair_selection import HistorySelection, read_history, select_history
from .pairing import SELECTION_RULES, RatedPair, SelectionConfig
from .ratings import Rating
from .store import Profile, Profiles

__all__ = [
    "SELECTION_RULES",
    "HistorySelection",
    "Imported",
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
