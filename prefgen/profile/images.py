"""What people rate, as it is kept: 8-bit RGB, upright, without metadata, named by the digest of its pixels."""

from __future__ import annotations

import hashlib
import io
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ImageError

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_EDGE = 1024
"""Pixels of the longest edge that are kept: no tower sees more than 980 (default ours)."""

MOST_PIXELS = 2**26
"""An image of more (8192 x 8192) is refused before it is unpacked (default ours)."""

MOST_BYTES = 32 * 2**20
"""A file of more is refused unread (default ours)."""

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
"""What is taken from people. Pillow knows more formats, some of which run other programs."""

ENDINGS = {"WEBP": ".webp", "PNG": ".png"}
"""What is kept, and how the files end: lossless, so that a digest can be checked."""

LOOK_CELLS = 4
"""A look is a picture of so many cells a side, each red, green, blue in 16 steps: a hexadecimal digit each."""

DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, eq=False)
class StoredImage:
    """One image ready to be kept. pixels: PIL, RGB, its longest edge at most `LONGEST`."""

    pixels: Image

    @classmethod
    def of(cls, image: Image) -> StoredImage:
        """Any RGB image, made smaller where it is larger than what is kept."""
        from PIL import Image as Images

        kept = image.copy() if max(image.size) > MAX_EDGE else image
        kept.thumbnail((MAX_EDGE, MAX_EDGE), Images.Resampling.LANCZOS, reducing_gap=3.0)
        return cls(kept)

    @classmethod
    def decode(cls, data: bytes, what: str = "The image") -> StoredImage:
        """A file's bytes. Raises ImageError where they are too many, no image of `FORMATS`, cut short, or unpack to
        more than `MOST_PIXELS`; `what` names it in the message."""
        return cls.of(_decoded(data, what, FORMATS)[0])

    @cached_property
    def digest(self) -> str:
        """sha256 (hex) of size and pixels: the same for the same picture in any lossless file."""
        size = "x".join(map(str, self.pixels.size))
        return hashlib.sha256(f"{size}:".encode() + self.pixels.tobytes()).hexdigest()

    @cached_property
    def look(self) -> str:
        """The picture's colours and where they are, in `3 * LOOK_CELLS ** 2` hexadecimal digits: what diverse choices
        compare without opening an image (default ours)."""
        from PIL import Image as Images

        small = self.pixels.resize((LOOK_CELLS, LOOK_CELLS), Images.Resampling.BOX)
        return "".join(f"{value >> 4:x}" for value in small.tobytes())

    def encode(self) -> bytes:
        """As lossless WebP: a third of a second at most for what is kept, and smaller than PNG."""
        file = io.BytesIO()
        self.pixels.save(file, "WEBP", lossless=True, method=1, quality=25, exact=True)
        return file.getvalue()


def kept_ending(data: bytes, digest: str, what: str) -> tuple[str, str]:
    """The file ending and the look of a file that was kept elsewhere, as it came. Raises ImageError as `Picture.decode`
    does, for a format that is not kept, and where the pixels are not what the digest was taken of."""
    image, kind = _decoded(data, what, tuple(ENDINGS))
    picture = StoredImage(image)
    if picture.digest != digest:
        raise ImageError(
            f"{what} does not match its name: the image is damaged or was edited, export the profile again."
        )
    return ENDINGS[kind], picture.look


def thumbnail(path: Path, size: int) -> bytes:
    """A kept image as WebP with no edge above `size` pixels. Raises ImageError where it cannot be read."""
    from PIL import Image as Images

    image, _ = _decoded(path.read_bytes(), path.name, tuple(ENDINGS))
    image.thumbnail((size, size), Images.Resampling.LANCZOS, reducing_gap=2.0)
    file = io.BytesIO()
    image.save(file, "WEBP", quality=85, method=1)
    return file.getvalue()


def _decoded(data: bytes, what: str, formats: tuple[str, ...]) -> tuple[Image, str]:
    from PIL import Image as Images

    from ..images import DECODE_ERRORS, upright_rgb

    if len(data) > MOST_BYTES:
        raise ImageError(f"{what} is {len(data):,} bytes, expected at most {MOST_BYTES:,}: save it smaller.")
    try:
        with Images.open(io.BytesIO(data), formats=formats) as opened:
            if opened.width * opened.height > MOST_PIXELS:
                raise Images.DecompressionBombError
            opened.draft("RGB", (MAX_EDGE, MAX_EDGE))
            opened.load()
            return upright_rgb(opened), opened.format
    except Images.DecompressionBombError as error:
        raise ImageError(f"{what} unpacks to more than {MOST_PIXELS:,} pixels: scale it down.") from error
    except DECODE_ERRORS as error:
        raise ImageError(
            f"{what} is no image that can be read, expected {', '.join(formats)}: choose another."
        ) from error
