"""Rated images as a profile stores them: 8-bit RGB, upright, without metadata, named by a digest of their pixels."""

from __future__ import annotations

import hashlib
import io
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ImageError
from ..validation import require

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_EDGE = 1024
"""Maximum longest edge of a stored image in pixels. Image encoders see at most 980. The limit is our choice."""

MAX_PIXELS = 2**26
"""Maximum number of pixels of an image file (8192 x 8192). Checked before decoding. The limit is our choice."""

MAX_BYTES = 32 * 2**20
"""Maximum size of an image file in bytes. The limit is our choice."""

INPUT_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
"""Accepted formats. Pillow knows more, some of which start other programs."""

SUFFIXES = {"WEBP": ".webp", "PNG": ".png"}
"""File names of the formats that a profile may hold. They are lossless, so that a digest can be verified."""

GRID_SIZE = 4
"""Width and height of a color grid in cells."""

DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, eq=False)
class StoredImage:
    """An image in the form in which a profile stores it.

    Attributes:
        image: RGB, with no edge above `MAX_EDGE`.
    """

    image: Image

    @classmethod
    def from_pil(cls, image: Image) -> StoredImage:
        """Build from an RGB image of any size, which is scaled down to `MAX_EDGE` where it is larger."""
        from PIL import Image as Images

        resized = image.copy() if max(image.size) > MAX_EDGE else image
        resized.thumbnail((MAX_EDGE, MAX_EDGE), Images.Resampling.LANCZOS, reducing_gap=3.0)
        return cls(resized)

    @classmethod
    def decode(cls, data: bytes, name: str = "The image") -> StoredImage:
        """Decode the bytes of an image file in one of `INPUT_FORMATS`.

        Args:
            name: What error messages call the image.

        Raises:
            ImageError: The file is larger than `MAX_BYTES` or `MAX_PIXELS`, or cannot be decoded.
        """
        return cls.from_pil(_decode(data, name, INPUT_FORMATS)[0])

    @classmethod
    def read(cls, path: Path) -> StoredImage:
        """Read and decode an image file. See `decode`."""
        with path.open("rb") as file:
            return cls.decode(file.read(MAX_BYTES + 1), path.name)

    @cached_property
    def digest(self) -> str:
        """The sha256 of size and pixels (hex). It is the same for every lossless file of one image."""
        size = "x".join(map(str, self.image.size))
        return hashlib.sha256(f"{size}:".encode() + self.image.tobytes()).hexdigest()

    @cached_property
    def color_grid(self) -> str:
        """A thumbnail of `GRID_SIZE` x `GRID_SIZE` cells, as one hexadecimal digit per cell and color channel.

        The "diverse" rule compares these, so that no image has to be opened (our choice).
        """
        from PIL import Image as Images

        cells = self.image.resize((GRID_SIZE, GRID_SIZE), Images.Resampling.BOX)
        return "".join(f"{value >> 4:x}" for value in cells.tobytes())

    def encode(self) -> bytes:
        """Encode as lossless WebP. This takes at most a third of a second, and the file is smaller than a PNG."""
        file = io.BytesIO()
        self.image.save(file, "WEBP", lossless=True, method=1, quality=25, exact=True)
        return file.getvalue()


def verify_stored_file(data: bytes, digest: str, name: str) -> tuple[str, str]:
    """Check the bytes of a file from another profile against its digest.

    Returns:
        The suffix of the file and the color grid of the image.

    Raises:
        ImageError: The file cannot be decoded, has a format that is not in `SUFFIXES`, or does not match the digest.
    """
    image, image_format = _decode(data, name, tuple(SUFFIXES))
    stored = StoredImage(image)
    require(stored.digest == digest, ImageError, f"{name} does not match its digest. Export the profile again.")
    return SUFFIXES[image_format], stored.color_grid


def encode_thumbnail(path: Path, size: int) -> bytes:
    """Read a stored image and encode it as WebP with no edge above `size` pixels.

    Raises:
        ImageError: The file cannot be decoded.
    """
    from PIL import Image as Images

    image, _ = _decode(path.read_bytes(), path.name, tuple(SUFFIXES))
    image.thumbnail((size, size), Images.Resampling.LANCZOS, reducing_gap=2.0)
    file = io.BytesIO()
    image.save(file, "WEBP", quality=85, method=1)
    return file.getvalue()


def _decode(data: bytes, name: str, formats: tuple[str, ...]) -> tuple[Image, str]:
    """Return an upright RGB image and its format."""
    from PIL import Image as Images

    from ..images import DECODE_ERRORS, decode_rgb

    require(len(data) <= MAX_BYTES, ImageError, f"{name} is larger than {MAX_BYTES:,} bytes. Save it smaller.")
    try:
        return decode_rgb(io.BytesIO(data), MAX_EDGE, formats, MAX_PIXELS)
    except Images.DecompressionBombError as error:
        raise ImageError(f"{name} has more than {MAX_PIXELS:,} pixels. Scale it down.") from error
    except DECODE_ERRORS as error:
        reason = f" ({error})" if type(error) is ValueError else ""  # the messages of others are for programmers
        raise ImageError(f"{name} could not be read as an image{reason}; expected {', '.join(formats)}.") from error
