"""Reads captions: text files beside images, in the encodings that common tools write."""

from __future__ import annotations

import codecs
from pathlib import Path

from ..validation import errors_as
from .errors import CommandError

# UTF-32 comes first: its little-endian mark begins with that of UTF-16.
BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def read_caption(path: Path) -> str:
    """Read a caption in UTF-8, with or without a byte order mark, or in UTF-16 or UTF-32 with one.

    Raises:
        CommandError: The file cannot be read or decoded.
    """
    problem = f"The caption {path.name} cannot be read"
    with errors_as(CommandError, problem, "Save it as UTF-8.", (OSError, UnicodeDecodeError)):
        data = path.read_bytes()
        encoding = next((name for mark, name in BYTE_ORDER_MARKS if data.startswith(mark)), "utf-8-sig")
        return data.decode(encoding).strip()
