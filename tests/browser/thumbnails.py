"""Draw the thumbnails of the templates: what each of them makes, or, where that needs models that are not here, what it
needs."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

SIDE = 576  # pixels; the template browser shows squares
GAP = 16
CAPTION = 34
PAPER, INK, SOFT, ACCENT = (24, 25, 28), (240, 240, 240), (160, 165, 172), (229, 72, 155)


def font(size: int) -> ImageFont.ImageFont:
    return ImageFont.load_default(size)


def fitted(picture: Image.Image, width: int, height: int) -> Image.Image:
    """A picture as large as it can be in a box."""
    scale = min(width / picture.width, height / picture.height)
    return picture.resize((round(picture.width * scale), round(picture.height * scale)), Image.Resampling.LANCZOS)


def sheet(rows: Sequence[Sequence[tuple[str, Image.Image]]], weights: Sequence[float]) -> Image.Image:
    """Rows of pictures with captions ("" for none), centred on a square.

    Args:
        weights: Each row's share of the height.
    """
    made = Image.new("RGB", (SIDE, SIDE), PAPER)
    draw = ImageDraw.Draw(made)
    space = SIDE - GAP * (len(rows) + 1)
    top = GAP
    for row, weight in zip(rows, weights, strict=True):
        height = space * weight / sum(weights)
        width = (SIDE - GAP * (len(row) + 1)) / max(len(row), 1)
        caption = CAPTION if any(text for text, _ in row) else 0
        for place, (text, picture) in enumerate(row):
            small = fitted(picture, width, height - caption)
            left = GAP + place * (width + GAP)
            x, y = round(left + (width - small.width) / 2), round(top + (height - caption - small.height) / 2)
            made.paste(small, (x, y))
            draw.text((left + width / 2, y + small.height + caption / 2), text, INK, font(24), anchor="mm")
        top += height + GAP
    return made


def grid(pictures: Sequence[Image.Image], columns: int) -> Image.Image:
    """Pictures in rows, in order."""
    cell = (SIDE - GAP * (columns + 1)) // columns
    made = Image.new("RGB", (SIDE, SIDE), PAPER)
    for place, picture in enumerate(pictures):
        row, column = divmod(place, columns)
        made.paste(fitted(picture, cell, cell), (GAP + column * (cell + GAP), GAP + row * (cell + GAP)))
    return made


def parts(stitched: Image.Image, count: int) -> list[Image.Image]:
    """The pictures that Image Stitch has put side by side: squares, with bars between them."""
    side, step = stitched.height, (stitched.width - stitched.height) / max(count - 1, 1)
    return [stitched.crop((round(place * step), 0, round(place * step) + side, side)) for place in range(count)]


def card(title: str, needs: Sequence[str]) -> Image.Image:
    """A card without a picture, for a template that was not run with the models that it is for."""
    made = Image.new("RGB", (SIDE, SIDE), PAPER)
    draw = ImageDraw.Draw(made)
    draw.rectangle((0, 0, SIDE, 10), ACCENT)
    y = 70
    for line in wrapped(draw, title, 46, SIDE - 2 * 40):
        draw.text((40, y), line, INK, font(46))
        y += 58
    draw.text((40, y + 50), "Needs", SOFT, font(28))
    for place, line in enumerate(needs):
        draw.text((40, y + 96 + 46 * place), line, INK, font(30))
    draw.text((40, SIDE - 50), "No picture: not run with these models yet", SOFT, font(22), anchor="lm")
    return made


def wrapped(draw: ImageDraw.ImageDraw, text: str, size: int, width: int) -> list[str]:
    """Lines that are no wider than `width`."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if draw.textlength(longer, font(size)) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def difference(one: Image.Image, other: Image.Image) -> float:
    """Mean difference of two pictures of one size, of 255."""
    return float(np.abs(np.asarray(one, dtype=float) - np.asarray(other, dtype=float)).mean())
