"""Scores as an IMAGE: each picture small, with a bar beside it."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image, ImageDraw

MOST = 24
"""Rows shown at most: a chart of hundreds would be read by nobody."""

TITLE = 64
"""Characters of the title, which is one line."""

THUMB, GAP, BAR, NUMBER = 56, 8, 320, 52
PAPER, INK, TRACK, LIKED, DISLIKED = (250, 248, 244), (60, 56, 52), (232, 228, 220), (74, 140, 92), (204, 85, 61)


def chart_image(images: torch.Tensor, scores: torch.Tensor, title: str) -> torch.Tensor:
    """A row for each of the first `MOST` images: (B, H, W, 3) and scores (B,) in [0, 1] -> (1, H, W, 3). The title says
    where there are more."""
    rows = min(len(images), MOST)
    more = f" (best {rows} of {len(images)})" if rows < len(images) else ""
    top = 28
    picture = Image.new("RGB", (THUMB + BAR + NUMBER + 3 * GAP, top + rows * (THUMB + GAP)), PAPER)
    draw = ImageDraw.Draw(picture)
    # The built-in font has Latin letters only; a prompt may have any.
    shown = title.replace("\n", " ").encode("ascii", "replace").decode()[: TITLE - len(more)] + more
    draw.text((GAP, GAP), shown, INK)
    for row in range(rows):
        y = top + row * (THUMB + GAP)
        pixels = (images[row].float().cpu().clamp(0, 1).numpy() * 255).round().astype(np.uint8)
        thumb = Image.fromarray(pixels)
        thumb.thumbnail((THUMB, THUMB))
        picture.paste(thumb, (GAP + (THUMB - thumb.width) // 2, y + (THUMB - thumb.height) // 2))
        score = float(scores[row])
        left, middle = THUMB + 2 * GAP, y + THUMB // 2
        draw.rectangle([left, middle - 10, left + BAR, middle + 10], fill=TRACK)
        draw.rectangle([left, middle - 10, left + BAR * score, middle + 10], fill=LIKED if score >= 0.5 else DISLIKED)
        draw.text((left + BAR + GAP, middle - 6), f"{score:.3f}", INK)
    return torch.from_numpy(np.asarray(picture, np.float32) / 255.0)[None]
