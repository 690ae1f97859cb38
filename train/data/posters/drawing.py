"""Draws posters: places the subject, and applies sky, scene and finish."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from .attributes import Attributes
from .palettes import PALETTES, Palette
from .pen import Pen
from .scenery import paint_scene, paint_sky
from .subjects import SUBJECTS

SIZE = 96  # pixels a side
_SUPERSAMPLING = 2  # factor for antialiasing, which ImageDraw lacks


def _placements(composition: str, rng: np.random.Generator) -> list[tuple[float, float, float]]:
    """Return the subject's boxes (left, top, size) as shares of the canvas, one for each time it is drawn."""
    dx, dy, ds = rng.uniform(-0.03, 0.03, 3)
    if composition == "centre":
        return [(0.22 + dx, 0.24 + dy, 0.56 + ds)]
    if composition == "aside":
        left = 0.05 if rng.random() < 0.5 else 0.55
        return [(left + dx, 0.42 + dy, 0.38 + ds)]
    if composition == "close":
        return [(0.02 + dx, 0.06 + dy, 0.98 + ds)]
    return [(0.04 + 0.33 * column + dx / 2, 0.14 + 0.44 * row + dy, 0.27) for row in range(2) for column in range(3)]


def _draw_subjects(canvas: Image.Image, attributes: Attributes, p: Palette, places, mirrored: bool) -> None:
    size = canvas.width
    line = {"close": 0.030, "centre": 0.028}.get(attributes.composition, 0.022)
    ink = p.ink if attributes.finish == "outline" else None
    for left, top, share in places:
        pen = Pen(ImageDraw.Draw(canvas), left * size, top * size, share * size, mirrored, ink, round(line * size))
        SUBJECTS[attributes.subject](pen, p)


def _add_glow(canvas: Image.Image, attributes: Attributes, p: Palette, places, mirrored: bool) -> Image.Image:
    """Draw a wide halo in the palette's light colour around the subject's silhouette."""
    silhouette = Palette(*["#ffffff"] * 8)
    mask = Image.new("RGB", canvas.size)
    _draw_subjects(mask, attributes, silhouette, places, mirrored)
    small = mask.convert("L").resize((SIZE // 2, SIZE // 2))  # a wide blur is cheaper at half size
    halo = small.filter(ImageFilter.MaxFilter(5)).filter(ImageFilter.GaussianBlur(3)).resize(canvas.size)
    dark_sky = sum(Image.new("RGB", (1, 1), p.sky).getpixel((0, 0))) < 300
    halo = halo.point(lambda v: min(255, int(v * (0.9 if dark_sky else 1.1))))
    return Image.composite(Image.new("RGB", canvas.size, p.light), canvas, halo)


def _add_frame(canvas: Image.Image, p: Palette) -> None:
    """Draw a passe-partout: a broad light border with an inked edge."""
    size, draw = canvas.width, ImageDraw.Draw(canvas)
    outer, inner = round(0.085 * size), round(0.11 * size)
    draw.rectangle([0, 0, size - 1, size - 1], outline=p.light, width=outer)
    draw.rectangle([outer, outer, size - 1 - outer, size - 1 - outer], outline=p.ink, width=inner - outer)


def draw(attributes: Attributes, rng: np.random.Generator, size: int = SIZE) -> np.ndarray:
    """Draw one poster.

    Position, scale, mirroring and the phase of textures are random. Returns uint8 (size, size, 3).
    """
    p, big = PALETTES[attributes.palette], size * _SUPERSAMPLING
    canvas = Image.new("RGB", (big, big))
    pencil = ImageDraw.Draw(canvas)
    paint_sky(pencil, big, attributes.texture, p, rng)
    paint_scene(pencil, big, attributes.scene, p, rng)
    places, mirrored = _placements(attributes.composition, rng), bool(rng.random() < 0.5)
    if attributes.finish == "glow":
        canvas = _add_glow(canvas, attributes, p, places, mirrored)
    _draw_subjects(canvas, attributes, p, places, mirrored)
    if attributes.finish == "frame":
        _add_frame(canvas, p)
    return np.asarray(canvas.reduce(_SUPERSAMPLING))
