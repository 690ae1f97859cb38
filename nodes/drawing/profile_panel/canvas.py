"""Paper to draw on, which grows downwards. Lengths are pixels of the finished picture."""

from __future__ import annotations

from PIL import Image, ImageDraw, ImageOps

from .fonts import font_for

WIDTH, MARGIN = 760, 26
FINE = 2
"""Everything is drawn so many times larger, and scaled down in the end: edges come out smooth."""

PAPER, INK, SOFT, FAINT = (250, 248, 244), (52, 48, 44), (128, 122, 114), (228, 223, 214)
LIKED, DISLIKED = (46, 139, 87), (201, 74, 62)

Colour = tuple[int, int, int]


class Sheet:
    """y: where the next thing goes."""

    left, right = MARGIN, WIDTH - MARGIN

    def __init__(self) -> None:
        self.y = float(MARGIN)
        self._image = Image.new("RGB", (WIDTH * FINE, 400 * FINE), PAPER)
        self._draw = ImageDraw.Draw(self._image)

    @property
    def across(self) -> int:
        """The width between the margins."""
        return self.right - self.left

    def gap(self, height: float) -> None:
        """Go down, making room."""
        self.y += height
        self._reach(self.y)

    def _reach(self, y: float) -> None:
        if y * FINE > self._image.height:
            taller = Image.new("RGB", (self._image.width, round(y * FINE * 1.5)), PAPER)
            taller.paste(self._image, (0, 0))
            self._image, self._draw = taller, ImageDraw.Draw(taller)

    def image(self) -> Image.Image:
        """What was drawn, as high as it is, with a margin below."""
        height = round(self.y + MARGIN)
        self._reach(height)
        whole = self._image.crop((0, 0, WIDTH * FINE, height * FINE))
        return whole.resize((WIDTH, height), Image.Resampling.LANCZOS)

    def text(self, x: float, y: float, text: str, size: int = 16, colour: Colour = INK, anchor: str = "la") -> float:
        """Write one line; returns its width. anchor: Pillow's."""
        self._reach(y + 2 * size)
        font, text = font_for(text.replace("\n", " "), size * FINE)
        self._draw.text((x * FINE, y * FINE), text, colour, font, anchor=anchor)
        return font.getlength(text) / FINE

    def fitted(self, text: str, size: int, width: float) -> str:
        """A text cut, with dots, so that it is no wider."""
        font, text = font_for(text.replace("\n", " "), size * FINE)
        if font.getlength(text) <= width * FINE:
            return text
        while text and font.getlength(text + "...") > width * FINE:
            text = text[:-1]
        return text + "..."

    def paragraph(self, text: str, size: int = 15, colour: Colour = SOFT) -> None:
        """Write over the whole width, in as many lines as it takes, and go below."""
        line = ""
        for word in [*text.split(), None]:
            longer = f"{line} {word}".strip()
            if word is None or (line and font_for(longer, size * FINE)[0].getlength(longer) > self.across * FINE):
                self.text(self.left, self.y, line, size, colour)
                self.gap(size * 1.4)
                longer = word
            line = longer

    def box(self, x: float, y: float, width: float, height: float, colour: Colour, radius: float = 0) -> None:
        """A filled rectangle, with round corners."""
        self._reach(y + height)
        if width > 0 and height > 0:
            sides = [x * FINE, y * FINE, (x + width) * FINE - 1, (y + height) * FINE - 1]
            self._draw.rounded_rectangle(sides, radius * FINE, colour)

    def disc(self, x: float, y: float, radius: float, colour: Colour, filled: bool) -> None:
        """A circle around a point, filled or a ring."""
        sides = [(x - radius) * FINE, (y - radius) * FINE, (x + radius) * FINE, (y + radius) * FINE]
        if filled:
            self._draw.ellipse(sides, fill=colour)
        else:
            self._draw.ellipse(sides, outline=colour, width=round(2.5 * FINE))

    def marker(self, x: float, y: float, colour: Colour, down: bool) -> None:
        """A small triangle whose tip is at a point."""
        side, height = 7 * FINE, (-10 if down else 10) * FINE
        x, y = x * FINE, y * FINE
        self._draw.polygon([(x, y), (x - side, y + height), (x + side, y + height)], fill=colour)

    def picture(self, image: Image.Image, x: float, y: float, side: float, frame: Colour | None = None) -> None:
        """An image as a square, what is longer cut off, in a frame of a colour."""
        line = min(4, max(2, side // 24)) if frame else 0
        if frame:
            self.box(x, y, side, side, frame, radius=line + 1)
        inner = round((side - 2 * line) * FINE)
        self._reach(y + side)
        fitted = ImageOps.fit(image.convert("RGB"), (inner, inner), Image.Resampling.LANCZOS)
        self._image.paste(fitted, (round((x + line) * FINE), round((y + line) * FINE)))
