"""Captions: text files beside images, in the encodings in which people's tools write them."""

from __future__ import annotations

import codecs
from pathlib import Path

from .errors import OfflineError

# UTF-32's first, whose little-endian mark begins with UTF-16's.
MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def read_caption(path: Path) -> str:
    """A caption: UTF-8 with or without a byte order mark, or UTF-16 and UTF-32 with one. Raises OfflineError for other
    bytes, and where the file cannot be read."""
    try:
        data = path.read_bytes()
        encoding = next((name for mark, name in MARKS if data.startswith(mark)), "utf-8-sig")
        return data.decode(encoding).strip()
    except OSError as error:
        raise OfflineError(f"the caption {path.name} could not be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise OfflineError(f"the caption {path.name} is no text ({error}): save it as UTF-8") from error
