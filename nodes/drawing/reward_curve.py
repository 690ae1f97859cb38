"""Plots the rewards of a noise optimisation against the iterations."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image, ImageDraw

SIZE = (480, 300)
MARGIN = (52, 16, 16, 30)
"""Left, top, right and bottom margin in pixels, with room for the numbers."""
PAPER, INK, GRID = (250, 248, 244), (60, 56, 52), (222, 217, 209)
LINES = ((204, 85, 61), (58, 110, 165), (74, 140, 92), (150, 100, 170), (196, 150, 50))


def draw_reward_curve(curve: torch.Tensor) -> torch.Tensor:
    """Draw one line for each row of the batch, with a dot at its best reward.

    Args:
        curve: Rewards, (iterations, B).

    Returns:
        The plot as an IMAGE, (1, H, W, 3).
    """
    picture = Image.new("RGB", SIZE, PAPER)
    draw = ImageDraw.Draw(picture)
    left, top, right, bottom = MARGIN[0], MARGIN[1], SIZE[0] - MARGIN[2], SIZE[1] - MARGIN[3]
    low, high = float(curve.min()), float(curve.max())
    span = max(high - low, 1e-6)
    steps = max(len(curve) - 1, 1)

    def to_pixels(index: int, reward: float) -> tuple[float, float]:
        return left + (right - left) * index / steps, bottom - (bottom - top) * (reward - low) / span

    for fraction in (0.0, 0.5, 1.0):
        y = bottom - (bottom - top) * fraction
        draw.line([(left, y), (right, y)], GRID)
        draw.text((6, y - 6), f"{low + span * fraction:.3g}", INK)
    draw.text((left, bottom + 10), "iteration 1", INK)
    draw.text((right, bottom + 10), str(len(curve)), INK, anchor="ra")
    for row, rewards in enumerate(curve.T.tolist()):
        colour = LINES[row % len(LINES)]
        points = [to_pixels(index, reward) for index, reward in enumerate(rewards)]
        draw.line(points, colour, width=2)
        x, y = points[int(np.argmax(rewards))]
        draw.ellipse([x - 4, y - 4, x + 4, y + 4], fill=colour)
    return torch.from_numpy(np.asarray(picture, np.float32) / 255.0)[None]
