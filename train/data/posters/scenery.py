"""Paints the background of posters: five sky textures and three scenes."""

from __future__ import annotations

from math import cos, pi, sin

import numpy as np
from PIL import ImageDraw

from .palettes import Palette

HORIZON = 0.72  # share of the canvas above the ground


def paint_sky(draw: ImageDraw.ImageDraw, size: int, texture: str, p: Palette, rng: np.random.Generator) -> None:
    """Fill the canvas with the sky and its texture; the phase of the texture is random."""
    draw.rectangle([0, 0, size, size], fill=p.sky)
    step = size / 8
    if texture == "stripes":
        phase = rng.uniform(0, 2 * step)
        for i in range(-1, 5):
            draw.rectangle([0, i * 2 * step + phase, size, i * 2 * step + phase + step], fill=p.sky_mark)
    elif texture == "dots":
        phase = rng.uniform(0, step, 2)
        for row in range(-1, 8):
            for column in range(-1, 6):
                x, y = column * 1.6 * step + (row % 2) * 0.8 * step + phase[0], row * 1.3 * step + phase[1]
                draw.ellipse([x - 0.36 * step, y - 0.36 * step, x + 0.36 * step, y + 0.36 * step], fill=p.sky_mark)
    elif texture == "checks":
        phase = rng.uniform(0, 1.5 * step, 2)
        for row in range(-1, 7):
            for column in range(-1, 7):
                if (row + column) % 2:
                    x, y = column * 1.5 * step + phase[0], row * 1.5 * step + phase[1]
                    draw.rectangle([x, y, x + 1.5 * step, y + 1.5 * step], fill=p.sky_mark)
    elif texture == "rays":
        cx, cy, turn = size * rng.uniform(0.35, 0.65), size * 0.6, rng.uniform(0, pi / 8)
        for i in range(16):
            a, b = turn + i * pi / 8, turn + (i + 0.5) * pi / 8
            far = [(cx + 2 * size * cos(t), cy + 2 * size * sin(t)) for t in (a, b)]
            draw.polygon([(cx, cy), *far], fill=p.sky_mark)


def paint_scene(draw: ImageDraw.ImageDraw, size: int, scene: str, p: Palette, rng: np.random.Generator) -> None:
    """Paint the ground: rolling hills, a sea with waves, or a city's skyline."""
    top = size * HORIZON
    if scene == "hills":
        shift = rng.uniform(-0.1, 0.1) * size
        draw.ellipse([0.35 * size + shift, top - 0.08 * size, 1.4 * size + shift, 1.5 * size], fill=p.ground_mark)
        draw.ellipse([-0.5 * size + shift, top - 0.02 * size, 0.75 * size + shift, 1.5 * size], fill=p.ground)
    elif scene == "sea":
        draw.rectangle([0, top, size, size], fill=p.ground)
        phase = rng.uniform(0, 2 * pi)
        for row in range(3):
            y = top + (0.06 + 0.09 * row) * size
            wave = [(x, y + 0.014 * size * sin(6 * pi * x / size + phase + row)) for x in range(-4, size + 5, 4)]
            draw.line(wave, fill=p.ground_mark, width=round(0.03 * size))
    else:
        widths = rng.uniform(0.11, 0.17, 10) * size
        lefts = np.cumsum(widths) - widths - rng.uniform(0, 0.1) * size
        for i, (left, width) in enumerate(zip(lefts, widths, strict=True)):
            roof = top - rng.uniform(-0.04, 0.16) * size
            draw.rectangle([left, roof, left + width, size], fill=p.ground if i % 2 else p.ground_mark)
            lit = p.ground_mark if i % 2 else p.ground
            for y in np.arange(roof + 0.05 * size, size, 0.1 * size):
                draw.rectangle([left + 0.3 * width, y, left + 0.7 * width, y + 0.045 * size], fill=lit)
