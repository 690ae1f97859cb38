"""Repairs image files that are sound, but that Pillow refuses."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_METADATA = (b"iCCP", b"tEXt", b"zTXt", b"iTXt")
"""Chunks of a colour profile and of texts. Pillow refuses those that unpack to more than 1 MiB; workflows can."""

JPEG_START, JPEG_END = b"\xff\xd8", b"\xff\xd9"
FILLER = bytes(range(1, 255)) * 4
"""Bytes that a JPEG decoder takes for pixels wherever pixels are missing."""


def repaired(data: bytes) -> bytes | None:
    """Return a version of an image file that Pillow reads with the same pixels, or None if there is none."""
    if data.startswith(PNG_SIGNATURE):
        return without_png_metadata(data)
    if data.startswith(JPEG_START) and not data.endswith(JPEG_END):
        return with_jpeg_end(data)
    return None


def without_png_metadata(data: bytes) -> bytes:
    """Return a PNG without its colour profile and texts."""
    return PNG_SIGNATURE + b"".join(chunk for kind, chunk in png_chunks(data) if kind not in PNG_METADATA)


def png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the type and the bytes of each chunk: length, type, content and checksum. Stops at an incomplete one."""
    position = len(PNG_SIGNATURE)
    while position + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        yield kind, data[position : position + 12 + length]
        position += 12 + length


def with_jpeg_end(data: bytes) -> bytes | None:
    """Return a JPEG with the missing end marker, or None if pixels are missing, too.

    A decoder fills missing pixels from what follows, and ignores what follows the last pixel. So pixels are missing if
    and only if bytes before the marker change the image.
    """
    from PIL import Image

    def pixels(candidate: bytes) -> bytes:
        with Image.open(io.BytesIO(candidate), formats=("JPEG",)) as image:
            return image.tobytes()

    complete = data + JPEG_END
    try:
        return complete if pixels(complete) == pixels(data + FILLER + JPEG_END) else None
    except OSError:
        return None
