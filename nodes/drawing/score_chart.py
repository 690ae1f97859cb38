"""Draws scores as an IMAGE: each scored image as a thumbnail with a bar beside it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw

from .fonts import font_for

MAX_ROWS = 24
MAX_TITLE = 64
"""Maximum number of characters in the title, which is a single line."""

THUMBNAIL, GAP, BAR, NUMBER, HEADER = 56, 8, 320, 52, 28
"""Sizes in pixels."""

FONT_SIZE = 10
"""Pillow's default font size."""

PAPER, INK, TRACK, LIKED, DISLIKED = (250, 248, 244), (60, 56, 52), (232, 228, 220), (74, 140, 92), (204, 85, 61)


def chart_image(images: Sequence[torch.Tensor], scores: torch.Tensor, title: str) -> torch.Tensor:
    """Draw the first `MAX_ROWS` images with their scores. The title says if there are more images.

    Args:
        images: B images (H, W, 3) in [0, 1], best first.
        scores: (B,) in [0, 1].

    Returns:
        (1, height, width, 3) in [0, 1].
    """
    rows = min(len(images), MAX_ROWS)
    more = f" (best {rows} of {len(images)})" if rows < len(images) else ""
    chart = Image.new("RGB", (THUMBNAIL + BAR + NUMBER + 3 * GAP, HEADER + rows * (THUMBNAIL + GAP)), PAPER)
    draw = ImageDraw.Draw(chart)
    font, title = font_for(title.replace("\n", " ")[: MAX_TITLE - len(more)] + more, FONT_SIZE)
    draw.text((GAP, GAP), title, INK, font)
    for row in range(rows):
        y = HEADER + row * (THUMBNAIL + GAP)
        pixels = (images[row].float().cpu().clamp(0, 1).numpy() * 255).round().astype(np.uint8)
        thumbnail = Image.fromarray(pixels)
        thumbnail.thumbnail((THUMBNAIL, THUMBNAIL))
        chart.paste(thumbnail, (GAP + (THUMBNAIL - thumbnail.width) // 2, y + (THUMBNAIL - thumbnail.height) // 2))
        score = float(scores[row])
        left, middle = THUMBNAIL + 2 * GAP, y + THUMBNAIL // 2
        draw.rectangle([left, middle - 10, left + BAR, middle + 10], fill=TRACK)
        draw.rectangle([left, middle - 10, left + BAR * score, middle + 10], fill=LIKED if score >= 0.5 else DISLIKED)
        draw.text((left + BAR + GAP, middle - 6), f"{score:.3f}", INK)
    return torch.from_numpy(np.asarray(chart, np.float32) / 255.0)[None]
