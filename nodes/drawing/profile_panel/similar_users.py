"""Whom a person is like, and which preference tokens they share: a row for each of the others."""

from __future__ import annotations

import math
from collections.abc import Sequence

from .canvas import (
    DISLIKED,
    FAINT,
    INK,
    LIKED,
    SOFT,
    Sheet,
)
from .content import SimilarUser

ROW, FACE, FACES = 58, 44, 3
NAMES, TOKENS, BAR, NUMBER = 280, 224, 128, 62
"""Pixels across for faces and name, the tokens, the bar of likeness, and its number."""


def draw(sheet: Sheet, kin: Sequence[SimilarUser]) -> None:
    """The section."""
    tokens = max(len(other.tokens) for other in kin)
    sheet.gap(36)
    sheet.text(sheet.left, sheet.y, "Who chooses alike", 24, INK)
    sheet.gap(36)
    about = "Bars: how alike the model reads two people's choices, from opposite to the same."
    if tokens:
        about += (
            " Circles: the preference tokens by which attention is alike (filled) or opposed (rings); larger is more."
        )
    sheet.paragraph(about)
    sheet.gap(8)
    start, middle = sheet.left + NAMES, sheet.right - NUMBER - BAR / 2
    step = TOKENS / max(tokens, 1)
    for token in range(tokens):
        sheet.text(start + step * (token + 0.5), sheet.y, str(token + 1), 13, SOFT, "ma")
    sheet.text(middle - BAR / 2, sheet.y, "opposite", 13, SOFT, "la")
    sheet.text(middle + BAR / 2, sheet.y, "same", 13, SOFT, "ra")
    sheet.gap(24)
    most = max((abs(part) for other in kin for part in other.tokens), default=0) or 1.0
    largest = min(ROW / 2 - 4, step / 2 - 2)
    for other in kin:
        _row(sheet, other, start, step, largest / math.sqrt(most), middle)


def _row(sheet: Sheet, other: SimilarUser, start: float, step: float, scale: float, middle: float) -> None:
    sheet.gap(ROW)
    top, y = sheet.y - ROW, sheet.y - ROW / 2
    sheet.box(sheet.left, top, sheet.across, 1, FAINT)
    for place, face in enumerate(other.faces[:FACES]):
        sheet.picture(face, sheet.left + place * (FACE + 4), top + (ROW - FACE) / 2, FACE)
    beside = sheet.left + FACES * (FACE + 4) + 8
    sheet.text(beside, y, sheet.fitted(other.name, 20, start - beside - 12), 20, INK, "lm")
    for place, part in enumerate(other.tokens):
        radius = scale * math.sqrt(abs(part))
        x = start + step * (place + 0.5)
        sheet.disc(x, y, 1.5, FAINT, filled=True)
        if radius >= 1.5:
            sheet.disc(x, y, radius, LIKED if part > 0 else DISLIKED, filled=part > 0)
    length = BAR / 2 * max(-1.0, min(1.0, other.likeness))
    sheet.box(middle - BAR / 2, y - 8, BAR, 16, FAINT, 8)
    sheet.box(middle + min(0.0, length), y - 8, abs(length), 16, LIKED if length > 0 else DISLIKED, 3)
    sheet.box(middle - 1, y - 12, 2, 24, INK)
    sheet.text(sheet.right, y, f"{other.likeness:+.2f}", 18, INK, "rm")
