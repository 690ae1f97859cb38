"""Draws the user's name, the number of ratings, and the newest liked and disliked images side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .canvas import DISLIKED, FAINT, INK, LIKED, SOFT, Color, Sheet
from .content import PanelContent

if TYPE_CHECKING:
    from PIL.Image import Image

GAP, SIDE_GAP = 7, 26
"""Pixels between images, and between the two sides."""

COLUMNS = ((4, 2), (9, 3), (20, 4), (40, 5))
"""Pairs of (maximum number of images per side, number of columns)."""

MAX_COLUMNS = 6
SPLIT_GAP = 4
"""Pixels between the two parts of the bar."""


def draw(sheet: Sheet, content: PanelContent) -> None:
    """Draw the section."""
    total = content.liked + content.disliked
    sheet.text(sheet.left, sheet.y, sheet.truncated(content.name, 36, sheet.width * 0.6), 36, INK)
    sheet.text(sheet.right, sheet.y + 16, f"{total} rated", 18, SOFT, "ra")
    sheet.skip(60)
    _draw_bar(sheet, content)
    sides = [[rated.image for rated in content.rated if rated.liked is liked] for liked in (True, False)]
    most = max(map(len, sides))
    columns = next((columns for count, columns in COLUMNS if most <= count), MAX_COLUMNS)
    width = (sheet.width - SIDE_GAP) / 2
    right_x = sheet.left + width + SIDE_GAP
    bottoms = [
        _draw_side(sheet, sides[0], content.liked, "liked", LIKED, sheet.left, width, columns),
        _draw_side(sheet, sides[1], content.disliked, "disliked", DISLIKED, right_x, width, columns),
    ]
    sheet.skip(max(bottoms) - sheet.y)


def _draw_bar(sheet: Sheet, content: PanelContent) -> None:
    """Draw a bar with the proportions of likes and dislikes."""
    total = content.liked + content.disliked
    sheet.box(sheet.left, sheet.y, sheet.width, 10, FAINT, 5)
    if total:
        gap = SPLIT_GAP * bool(content.liked and content.disliked)
        liked_width = (sheet.width - gap) * content.liked / total
        sheet.box(sheet.left, sheet.y, liked_width, 10, LIKED, min(5, liked_width / 2))
        disliked_width = sheet.width - liked_width - gap
        sheet.box(sheet.right - disliked_width, sheet.y, disliked_width, 10, DISLIKED, min(5, disliked_width / 2))
    sheet.skip(26)


def _draw_side(
    sheet: Sheet, images: Sequence[Image], count: int, word: str, color: Color, x: float, width: float, columns: int
) -> float:
    """Draw one side of the wall, and return the position of its bottom edge."""
    top = sheet.y
    count_width = sheet.text(x, top, str(count), 26, color)
    sheet.text(x + count_width + 8, top + 8, word, 18, color)
    top += 42
    if not images:
        sheet.box(x, top, width, 72, FAINT, 8)
        sheet.text(x + width / 2, top + 36, f"nothing {word} yet", 17, SOFT, "mm")
        return top + 72
    size = (width - GAP * (columns - 1)) / columns
    for index, image in enumerate(images):
        row, column = divmod(index, columns)
        sheet.picture(image, x + column * (size + GAP), top + row * (size + GAP), size, color)
    bottom = top + (len(images) - 1) // columns * (size + GAP) + size
    if count > len(images):
        sheet.text(x + width, bottom + 6, f"and {count - len(images)} older", 15, SOFT, "ra")
        bottom += 24
    return bottom
