"""Who it is, how much they rated, and the newest of what they liked and disliked, side by side."""

from __future__ import annotations

from .canvas import (
    DISLIKED,
    FAINT,
    INK,
    LIKED,
    SOFT,
    Colour,
    Sheet,
)
from .content import PanelUser

GAP, BETWEEN = 7, 26
COLUMNS = ((4, 2), (9, 3), (20, 4), (40, 5))
"""Images on the fuller side, and in how many columns both are shown; more have six."""


def draw(sheet: Sheet, person: PanelUser) -> None:
    """The section."""
    rated = person.liked + person.disliked
    sheet.text(sheet.left, sheet.y, sheet.fitted(person.name, 36, sheet.across * 0.6), 36, INK)
    sheet.text(sheet.right, sheet.y + 16, f"{rated} rated", 18, SOFT, "ra")
    sheet.gap(60)
    _balance(sheet, person)
    sides = [[shown for shown in person.shown if shown.liked is liked] for liked in (True, False)]
    most = max(map(len, sides))
    columns = next((across for up_to, across in COLUMNS if most <= up_to), 6)
    width = (sheet.across - BETWEEN) / 2
    top, ends = sheet.y, []
    for place, (shown, count, colour, word) in enumerate(
        zip(sides, (person.liked, person.disliked), (LIKED, DISLIKED), ("liked", "disliked"), strict=True)
    ):
        x = sheet.left + place * (width + BETWEEN)
        ends.append(_side(sheet, [one.picture for one in shown], count, word, colour, x, top, width, columns))
    sheet.gap(max(ends) - top)


def _balance(sheet: Sheet, person: PanelUser) -> None:
    """How liked and disliked divide what was rated."""
    rated = person.liked + person.disliked
    sheet.box(sheet.left, sheet.y, sheet.across, 10, FAINT, 5)
    if rated:
        split = (sheet.across - 4 * bool(person.liked and person.disliked)) * person.liked / rated
        sheet.box(sheet.left, sheet.y, split, 10, LIKED, min(5, split / 2))
        rest = sheet.across - split - 4 * bool(person.liked and person.disliked)
        sheet.box(sheet.right - rest, sheet.y, rest, 10, DISLIKED, min(5, rest / 2))
    sheet.gap(26)


def _side(
    sheet: Sheet,
    pictures: list,
    count: int,
    word: str,
    colour: Colour,
    x: float,
    top: float,
    width: float,
    columns: int,
) -> float:
    """One half of the wall; returns where it ends."""
    wide = sheet.text(x, top, str(count), 26, colour)
    sheet.text(x + wide + 8, top + 8, word, 18, colour)
    top += 42
    side = (width - GAP * (columns - 1)) / columns
    if not pictures:
        sheet.box(x, top, width, 72, FAINT, 8)
        sheet.text(x + width / 2, top + 36, f"nothing {word} yet", 17, SOFT, "mm")
        return top + 72
    for place, picture in enumerate(pictures):
        across, down = place % columns, place // columns
        sheet.picture(picture, x + across * (side + GAP), top + down * (side + GAP), side, colour)
    end = top + (len(pictures) - 1) // columns * (side + GAP) + side
    if count > len(pictures):
        sheet.text(x + width, end + 6, f"and {count - len(pictures)} older", 15, SOFT, "ra")
        end += 24
    return end
