"""The user embedding: a user's history as vectors of three parts, sem, core and img (docs/paper-index.md, section 3).

``user.py`` defines it, ``encode.py`` computes it from a history, ``file.py`` saves and loads it, ``blend.py`` mixes
users and measures their distance.
"""

from .blend import blend, distance, distances
from .encode import encode_user
from .file import load_embedding, save_embedding
from .user import PARTS, UserEmbedding

__all__ = [
    "PARTS",
    "UserEmbedding",
    "blend",
    "distance",
    "distances",
    "encode_user",
    "load_embedding",
    "save_embedding",
]
