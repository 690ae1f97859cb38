"""Draws rated images along an axis of their scores: liked ones above it, disliked ones below."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

from ....prefgen.cross_validation import roc_auc
from .canvas import DISLIKED, FAINT, INK, LIKED, PAPER, SOFT, Sheet
from .content import RatedThumbnail

IMAGE_SIZES, MAX_LEVELS = (46, 40, 34, 28, 24, 20), 5
"""Sizes of the images in pixels. The largest that needs at most `MAX_LEVELS` rows on each side is used."""

GAP = 3
"""Pixels between images."""

MIN_RANGE, STEPS = 0.2, 10
"""Smallest range of the axis, and steps per unit."""

AXIS_HEIGHT = 34


def draw(sheet: Sheet, scored: Sequence[RatedThumbnail]) -> None:
    """Draw the section."""
    sheet.skip(36)
    sheet.text(sheet.left, sheet.y, "Predicted rating of each image", 24, INK)
    sheet.skip(36)
    sheet.paragraph(f"Each image is scored without its own rating, from 0 (disliked) to 1 (liked). {_summary(scored)}")
    sheet.skip(10)
    low, high = axis_range([rated.score for rated in scored])
    sides = [[rated for rated in scored if rated.liked is liked] for liked in (True, False)]
    for size in IMAGE_SIZES:
        width = sheet.width - size
        positions = [[width * (rated.score - low) / (high - low) for rated in side] for side in sides]
        levels = [stack_levels(xs, size + GAP) for xs in positions]
        heights = [max(side_levels, default=-1) + 1 for side_levels in levels]
        if max(heights) <= MAX_LEVELS:
            break
    axis_y = sheet.y + heights[0] * (size + GAP)
    _draw_axis(sheet, axis_y, low, high, size)
    for side, xs, side_levels, above in zip(sides, positions, levels, (True, False), strict=True):
        color = LIKED if above else DISLIKED
        for rated, x, level in zip(side, xs, side_levels, strict=True):
            y = axis_y - (level + 1) * (size + GAP) if above else axis_y + AXIS_HEIGHT + level * (size + GAP)
            sheet.picture(rated.image, sheet.left + x, y, size, color)
        if side:
            x = sheet.left + size / 2 + width * (median(rated.score for rated in side) - low) / (high - low)
            sheet.marker(x, axis_y + (11 if above else AXIS_HEIGHT - 11), color, down=above)
    sheet.skip((heights[0] + heights[1]) * (size + GAP) + AXIS_HEIGHT)


def _summary(scored: Sequence[RatedThumbnail]) -> str:
    """Describe how well the scores separate liked from disliked images."""
    liked, disliked = ([rated.score for rated in scored if rated.liked is side] for side in (True, False))
    auc = roc_auc(liked, disliked)
    if auc is None:
        return "The triangle marks the median."
    count = len(liked) * len(disliked)
    return (
        f"In {auc * count:.0f} of {count} pairs of a liked and a disliked image, the liked one scores higher (chance: "
        "half of them). Triangles mark the medians."
    )


def axis_range(scores: Sequence[float]) -> tuple[float, float]:
    """Return the range that the axis shows: whole steps within [0, 1] around all scores, at least `MIN_RANGE`."""
    low, high = math.floor(min(scores) * STEPS) / STEPS, math.ceil(max(scores) * STEPS) / STEPS
    if high - low < MIN_RANGE - 1e-9:
        low = max(0.0, low - 1 / STEPS)
        high = min(1.0, low + MIN_RANGE)
        low = min(low, high - MIN_RANGE)
    return round(low, 1), round(high, 1)


def stack_levels(xs: Sequence[float], size: float) -> list[int]:
    """Return the lowest free level for each image, so that no images overlap."""
    levels = [0] * len(xs)
    last_x: list[float] = []
    for index in sorted(range(len(xs)), key=lambda i: xs[i]):
        level = next((i for i, last in enumerate(last_x) if xs[index] - last >= size), len(last_x))
        last_x[level : level + 1] = [xs[index]]
        levels[index] = level
    return levels


def _draw_axis(sheet: Sheet, y: float, low: float, high: float, size: int) -> None:
    middle = y + AXIS_HEIGHT / 2
    sheet.box(sheet.left, middle - 1, sheet.width, 2, FAINT)
    ticks = round((high - low) * STEPS)
    for tick in range(ticks + 1):
        x = sheet.left + size / 2 + (sheet.width - size) * tick / ticks
        sheet.box(x - 18, middle - 9, 36, 18, PAPER)
        sheet.text(x, middle, f"{low + tick / STEPS:.1f}", 13, SOFT, "mm")
