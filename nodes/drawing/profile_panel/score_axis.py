"""Rated images along their scores: liked ones above the axis, disliked ones below."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

from ....prefgen.cross_validation import roc_auc
from .canvas import (
    DISLIKED,
    FAINT,
    INK,
    LIKED,
    PAPER,
    SOFT,
    Sheet,
)
from .content import RatedThumbnail

SIDES, HIGHEST = (46, 40, 34, 28, 24, 20), 5
"""How large images are shown: the largest size of which no more than so many lie above each other."""

LEAST_SPAN, STEPS = 0.2, 10
AXIS = 34


def draw(sheet: Sheet, scored: Sequence[RatedThumbnail]) -> None:
    """The section."""
    sheet.gap(36)
    sheet.text(sheet.left, sheet.y, "The model's guess for each image", 24, INK)
    sheet.gap(36)
    sheet.paragraph(f"Scored as if it had not been rated: 0 would be disliked, 1 liked. {_told(scored)}")
    sheet.gap(10)
    low, high = span([shown.score for shown in scored])
    groups = [[shown for shown in scored if shown.liked is liked] for liked in (True, False)]
    for side in SIDES:
        width = sheet.across - side
        places = [[width * (shown.score - low) / (high - low) for shown in group] for group in groups]
        levels = [stacked(xs, side + 3) for xs in places]
        heights = [max(found, default=-1) + 1 for found in levels]
        if max(heights) <= HIGHEST:
            break
    axis = sheet.y + heights[0] * (side + 3)
    _axis(sheet, axis, low, high, side)
    for group, xs, found, above in zip(groups, places, levels, (True, False), strict=True):
        for shown, x, level in zip(group, xs, found, strict=True):
            y = axis - (level + 1) * (side + 3) if above else axis + AXIS + level * (side + 3)
            sheet.picture(shown.picture, sheet.left + x, y, side, LIKED if above else DISLIKED)
        if group:
            x = sheet.left + side / 2 + width * (median(shown.score for shown in group) - low) / (high - low)
            sheet.marker(x, axis + (11 if above else AXIS - 11), LIKED if above else DISLIKED, down=above)
    sheet.gap((heights[0] + heights[1]) * (side + 3) + AXIS)


def _told(scored: Sequence[RatedThumbnail]) -> str:
    liked, disliked = ([shown.score for shown in scored if shown.liked is side] for side in (True, False))
    apart = roc_auc(liked, disliked)
    if apart is None:
        return "The triangle: the middle one."
    count = len(liked) * len(disliked)
    return (
        f"Of a liked and a disliked one, the liked one is put first in {apart * count:.0f} of {count} cases (guessing: "
        "half of them). Triangles: the middle ones."
    )


def span(scores: Sequence[float]) -> tuple[float, float]:
    """What part of [0, 1] the axis shows: all scores, in whole tenths, two of them at least."""
    low, high = math.floor(min(scores) * STEPS) / STEPS, math.ceil(max(scores) * STEPS) / STEPS
    if high - low < LEAST_SPAN - 1e-9:
        low = max(0.0, low - 1 / STEPS)
        high = min(1.0, low + LEAST_SPAN)
        low = min(low, high - LEAST_SPAN)
    return round(low, 1), round(high, 1)


def stacked(xs: Sequence[float], side: float) -> list[int]:
    """How high each lies so that none covers another; each as low as can be."""
    levels = [0] * len(xs)
    rows: list[list[float]] = []
    for place in sorted(range(len(xs)), key=lambda i: xs[i]):
        level = next((i for i, row in enumerate(rows) if xs[place] - row[-1] >= side), len(rows))
        if level == len(rows):
            rows.append([])
        rows[level].append(xs[place])
        levels[place] = level
    return levels


def _axis(sheet: Sheet, y: float, low: float, high: float, side: int) -> None:
    middle = y + AXIS / 2
    sheet.box(sheet.left, middle - 1, sheet.across, 2, FAINT)
    ticks = round((high - low) * STEPS)
    for tick in range(ticks + 1):
        value = low + tick / STEPS
        x = sheet.left + side / 2 + (sheet.across - side) * tick / ticks
        sheet.box(x - 18, middle - 9, 36, 18, PAPER)
        sheet.text(x, middle, f"{value:.1f}", 13, SOFT, "mm")
