"""A sheet to draw on, which grows downwards. Lengths are in pixels of the finished picture."""

from __future__ import annotations

from PIL import Image, ImageDraw, ImageOps

from ..fonts import font_for

WIDTH, MARGIN = 760, 26
SUPERSAMPLING = 2
"""The sheet is drawn larger by this factor and scaled down at the end, for smooth edges."""

PAPER, INK, SOFT, FAINT = (250, 248, 244), (52, 48, 44), (128, 122, 114), (228, 223, 214)
LIKED, DISLIKED = (46, 139, 87), (201, 74, 62)

Color = tuple[int, int, int]


class Sheet:
    """A sheet of fixed width.

    Attributes:
        left, right: Horizontal positions of the margins.
        y: Vertical position of the next element.
    """

    left, right = MARGIN, WIDTH - MARGIN

    def __init__(self) -> None:
        self.y = float(MARGIN)
        self._image = Image.new("RGB", (WIDTH * SUPERSAMPLING, 400 * SUPERSAMPLING), PAPER)
        self._draw = ImageDraw.Draw(self._image)

    @property
    def width(self) -> int:
        """The width between the margins."""
        return self.right - self.left

    def skip(self, height: float) -> None:
        """Move the next element down."""
        self.y += height
        self._grow_to(self.y)

    def _grow_to(self, y: float) -> None:
        if y * SUPERSAMPLING > self._image.height:
            taller = Image.new("RGB", (self._image.width, round(y * SUPERSAMPLING * 1.5)), PAPER)
            taller.paste(self._image, (0, 0))
            self._image, self._draw = taller, ImageDraw.Draw(taller)

    def image(self) -> Image.Image:
        """Return the picture, with a margin below the last element."""
        height = round(self.y + MARGIN)
        self._grow_to(height)
        cropped = self._image.crop((0, 0, WIDTH * SUPERSAMPLING, height * SUPERSAMPLING))
        return cropped.resize((WIDTH, height), Image.Resampling.LANCZOS)

    def text(self, x: float, y: float, text: str, size: int = 16, color: Color = INK, anchor: str = "la") -> float:
        """Write one line, and return its width. `anchor` is a text anchor as defined by Pillow."""
        self._grow_to(y + 2 * size)
        font, text = font_for(text.replace("\n", " "), size * SUPERSAMPLING)
        self._draw.text((x * SUPERSAMPLING, y * SUPERSAMPLING), text, color, font, anchor=anchor)
        return font.getlength(text) / SUPERSAMPLING

    def truncated(self, text: str, size: int, width: float) -> str:
        """Shorten a text to a width, ending in an ellipsis."""
        font, text = font_for(text.replace("\n", " "), size * SUPERSAMPLING)
        if font.getlength(text) <= width * SUPERSAMPLING:
            return text
        while text and font.getlength(text + "...") > width * SUPERSAMPLING:
            text = text[:-1]
        return text + "..."

    def paragraph(self, text: str, size: int = 15, color: Color = SOFT) -> None:
        """Write a text, wrapped at the full width, and move below it."""
        line = ""
        for word in [*text.split(), None]:
            longer = f"{line} {word}".strip()
            too_long = font_for(longer, size * SUPERSAMPLING)[0].getlength(longer) > self.width * SUPERSAMPLING
            if word is None or (line and too_long):
                self.text(self.left, self.y, line, size, color)
                self.skip(size * 1.4)
                longer = word
            line = longer

    def box(self, x: float, y: float, width: float, height: float, color: Color, radius: float = 0) -> None:
        """Draw a filled rectangle with rounded corners, at least one pixel wide and high."""
        self._grow_to(y + height)
        if width > 0 and height > 0:
            corners = [x, y, x + width, y + height]
            left, top, right, bottom = (value * SUPERSAMPLING for value in corners)
            corners = [left, top, max(left, right - 1), max(top, bottom - 1)]
            self._draw.rounded_rectangle(corners, radius * SUPERSAMPLING, color)

    def circle(self, x: float, y: float, radius: float, color: Color, filled: bool) -> None:
        """Draw a disc or a ring around a point."""
        corners = [value * SUPERSAMPLING for value in (x - radius, y - radius, x + radius, y + radius)]
        if filled:
            self._draw.ellipse(corners, fill=color)
        else:
            self._draw.ellipse(corners, outline=color, width=round(2.5 * SUPERSAMPLING))

    def marker(self, x: float, y: float, color: Color, down: bool) -> None:
        """Draw a small triangle with its tip at a point."""
        side, height = 7 * SUPERSAMPLING, (-10 if down else 10) * SUPERSAMPLING
        x, y = x * SUPERSAMPLING, y * SUPERSAMPLING
        self._draw.polygon([(x, y), (x - side, y + height), (x + side, y + height)], fill=color)

    def picture(self, image: Image.Image, x: float, y: float, side: float, frame: Color | None = None) -> None:
        """Draw an image cropped to a square, with an optional frame."""
        border = min(4, max(2, side // 24)) if frame else 0
        if frame:
            self.box(x, y, side, side, frame, radius=border + 1)
        inner = round((side - 2 * border) * SUPERSAMPLING)
        self._grow_to(y + side)
        square = ImageOps.fit(image.convert("RGB"), (inner, inner), Image.Resampling.LANCZOS)
        self._image.paste(square, (round((x + border) * SUPERSAMPLING), round((y + border) * SUPERSAMPLING)))
