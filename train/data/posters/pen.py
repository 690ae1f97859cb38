"""Draws flat shapes in a unit box that is placed on a canvas."""

from __future__ import annotations

from dataclasses import dataclass

from PIL import ImageDraw


@dataclass(frozen=True)
class Pen:
    """A pen for a PIL canvas in unit coordinates: x right, y down, the box is [0, 1]^2.

    Attributes:
        draw: The canvas.
        left, top, size: Position and side of the box in pixels.
        mirrored: Whether the box is flipped horizontally.
        ink: Colour of outlines, or None for no outlines.
        line: Width of outlines in pixels.
    """

    draw: ImageDraw.ImageDraw
    left: float
    top: float
    size: float
    mirrored: bool = False
    ink: str | None = None
    line: int = 0

    def _at(self, x: float, y: float) -> tuple[float, float]:
        x = 1 - x if self.mirrored else x
        return self.left + x * self.size, self.top + y * self.size

    def polygon(self, colour: str, *points: tuple[float, float]) -> None:
        """Draw a filled polygon through the points."""
        placed = [self._at(*p) for p in points]
        self.draw.polygon(placed, fill=colour)
        if self.ink:
            self.draw.line([*placed, placed[0], placed[1]], fill=self.ink, width=self.line, joint="curve")

    def ellipse(self, colour: str, x: float, y: float, rx: float, ry: float | None = None) -> None:
        """Draw a filled ellipse around (x, y), or a circle if `ry` is not given."""
        (cx, cy), ry = self._at(x, y), rx if ry is None else ry
        box = [cx - rx * self.size, cy - ry * self.size, cx + rx * self.size, cy + ry * self.size]
        self.draw.ellipse(box, fill=colour, outline=self.ink, width=self.line if self.ink else 0)

    def box(self, colour: str, x0: float, y0: float, x1: float, y1: float) -> None:
        """Draw a filled rectangle between two corners."""
        self.polygon(colour, (x0, y0), (x1, y0), (x1, y1), (x0, y1))
