"""Draws one row for each compared user: the similarity of taste, and the preference tokens that agree."""

from __future__ import annotations

import math
from collections.abc import Sequence

from .canvas import DISLIKED, FAINT, INK, LIKED, SOFT, Sheet
from .content import SimilarUser

ROW_HEIGHT, THUMBNAIL_SIZE, MAX_THUMBNAILS = 58, 44, 3
NAMES_WIDTH, TOKENS_WIDTH, BAR_WIDTH, NUMBER_WIDTH = 280, 224, 128, 62


def draw(sheet: Sheet, users: Sequence[SimilarUser]) -> None:
    """Draw the section."""
    token_count = max(len(user.tokens) for user in users)
    sheet.skip(36)
    sheet.text(sheet.left, sheet.y, "Similar users", 24, INK)
    sheet.skip(36)
    legend = "Bars show how similar the users' tastes are, from opposite to same."
    if token_count:
        legend += " Circles show which preference tokens make attention similar (filled) or different (rings)."
    sheet.paragraph(legend)
    sheet.skip(8)
    tokens_x, bar_x = sheet.left + NAMES_WIDTH, sheet.right - NUMBER_WIDTH - BAR_WIDTH / 2
    token_width = TOKENS_WIDTH / max(token_count, 1)
    for token in range(token_count):
        sheet.text(tokens_x + token_width * (token + 0.5), sheet.y, str(token + 1), 13, SOFT, "ma")
    sheet.text(bar_x - BAR_WIDTH / 2, sheet.y, "opposite", 13, SOFT, "la")
    sheet.text(bar_x + BAR_WIDTH / 2, sheet.y, "same", 13, SOFT, "ra")
    sheet.skip(24)
    largest_value = max((abs(value) for user in users for value in user.tokens), default=0) or 1.0
    largest_radius = min(ROW_HEIGHT / 2 - 4, token_width / 2 - 2)
    for user in users:
        sheet.skip(ROW_HEIGHT)
        sheet.box(sheet.left, sheet.y - ROW_HEIGHT, sheet.width, 1, FAINT)
        _draw_name(sheet, user, tokens_x)
        _draw_tokens(sheet, user, tokens_x, token_width, largest_radius / math.sqrt(largest_value))
        _draw_similarity(sheet, user, bar_x)


def _draw_name(sheet: Sheet, user: SimilarUser, end: float) -> None:
    top, middle = sheet.y - ROW_HEIGHT, sheet.y - ROW_HEIGHT / 2
    for index, thumbnail in enumerate(user.thumbnails[:MAX_THUMBNAILS]):
        x = sheet.left + index * (THUMBNAIL_SIZE + 4)
        sheet.picture(thumbnail, x, top + (ROW_HEIGHT - THUMBNAIL_SIZE) / 2, THUMBNAIL_SIZE)
    x = sheet.left + MAX_THUMBNAILS * (THUMBNAIL_SIZE + 4) + 8
    sheet.text(x, middle, sheet.truncated(user.name, 20, end - x - 12), 20, INK, "lm")


def _draw_tokens(sheet: Sheet, user: SimilarUser, start: float, token_width: float, scale: float) -> None:
    """Draw a circle for each token, with an area proportional to the token's contribution."""
    middle = sheet.y - ROW_HEIGHT / 2
    for index, value in enumerate(user.tokens):
        radius = scale * math.sqrt(abs(value))
        x = start + token_width * (index + 0.5)
        sheet.circle(x, middle, 1.5, FAINT, filled=True)
        if radius >= 1.5:
            sheet.circle(x, middle, radius, LIKED if value > 0 else DISLIKED, filled=value > 0)


def _draw_similarity(sheet: Sheet, user: SimilarUser, x: float) -> None:
    """Draw the bar and the number."""
    middle = sheet.y - ROW_HEIGHT / 2
    length = BAR_WIDTH / 2 * max(-1.0, min(1.0, user.similarity))
    sheet.box(x - BAR_WIDTH / 2, middle - 8, BAR_WIDTH, 16, FAINT, 8)
    sheet.box(x + min(0.0, length), middle - 8, abs(length), 16, LIKED if length > 0 else DISLIKED, 3)
    sheet.box(x - 1, middle - 12, 2, 24, INK)
    sheet.text(sheet.right, middle, f"{user.similarity:+.2f}", 18, INK, "rm")
