"""The user embedding: what PrefDisc and a CLIP image tower read out of a history, in three parts.

method.md section 3. `user.py` says what it is and whose, `extract.py` reads it out of a history, `file.py` keeps it on
disk, `blend.py` mixes users and says how far apart they are.
"""

from .blend import blend, distance, distances
from .extract import extract
from .file import load_embedding, save_embedding
from .user import PARTS, UserEmbedding

__all__ = [
    "PARTS",
    "UserEmbedding",
    "blend",
    "distance",
    "distances",
    "extract",
    "load_embedding",
    "save_embedding",
]
