"""Draws the contact sheet: liked posters of a few agents, and their plain, personalised and mismatched pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw
from torch import Tensor

from train.evaluate.pictures.agents import SEEDS, Agents
from train.evaluate.pictures.contact_sheet import (
    CONTROL,
    GREY,
    INK,
    LINE,
    OWN,
    PAPER,
    font,
    to_image,
)

PICTURE, THUMB, GAP, MARGIN, LABEL, GUTTER = 144, 96, 8, 60, 82, 70
ROW = PICTURE + 30
BLOCK = (2 * (THUMB + GAP) + LABEL + 20 + 4 * (PICTURE + GAP), 3 * ROW + 44)
SHEET_ROWS = {
    "plain": ("plain", "", GREY),
    "full": ("for this", "person", OWN),
    "other": ("for another", "person", CONTROL),
}


@dataclass(frozen=True)
class SheetRow:
    """Pictures of one condition, uint8 (n, m, 3, 96, 96), and their true utilities (n, m), for all agents."""

    images: Tensor
    utility: np.ndarray


def draw_sheet(agents: Agents, rows: Mapping[str, SheetRow], chosen: Sequence[int]) -> Image.Image:
    """Draw two agents in each line. `rows` has any of the conditions plain, full and other."""
    lines = (len(chosen) + 1) // 2
    width = 2 * MARGIN + min(2, len(chosen)) * (BLOCK[0] + GUTTER) - GUTTER
    sheet = Image.new("RGB", (width, 140 + lines * (BLOCK[1] + 30) + 50), PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.text((MARGIN, 40), "Same prompt, same seed, different tastes", INK, font(32, "Serif"))
    pen.text(
        (MARGIN, 88), "User embeddings are computed from eight pairs; the liked images are on the left.", GREY, font(15)
    )
    for place, agent in enumerate(chosen):
        at = (MARGIN + place % 2 * (BLOCK[0] + GUTTER), 140 + place // 2 * (BLOCK[1] + 30))
        _draw_agent(sheet, at, agents, rows, agent)
    legend = (
        "Below each picture: the person's true utility, from attributes that a classifier (trained on rendered posters "
        "only) predicts; bold if higher than for the plain picture."
    )
    pen.text((MARGIN, sheet.height - 46), legend, GREY, font(13))
    return sheet


def _draw_agent(
    sheet: Image.Image, at: tuple[int, int], agents: Agents, rows: Mapping[str, SheetRow], agent: int
) -> None:
    (x, y), pen = at, ImageDraw.Draw(sheet)
    pen.line((x, y - 10, x + BLOCK[0], y - 10), LINE, 1)
    pen.text((x, y + 4), "liked", OWN, font(16, "Serif-Bold"))
    for i, picture in enumerate(agents.liked_images[agent]):
        thumb = to_image((picture * 255).round().byte(), THUMB)
        sheet.paste(thumb, (x + i % 2 * (THUMB + GAP), y + 34 + i // 2 * (THUMB + GAP)))
    left = x + 2 * (THUMB + GAP) + 20 + LABEL
    for i, prompt in enumerate(agents.prompts[agent][::SEEDS]):
        pen.text((left + i * SEEDS * (PICTURE + GAP), y + 4), prompt, INK, font(16, "Serif"))
    for line, (name, row) in enumerate((name, rows[name]) for name in SHEET_ROWS if name in rows):
        first, second, colour = SHEET_ROWS[name]
        above = y + 34 + line * ROW
        for word, down in ((first, -10), (second, 10)):
            place = (left - 12, above + PICTURE // 2 + down)
            pen.text(place, word, colour, font(14, "Serif-Bold" if name == "full" else "Serif"), anchor="rm")
        for i, (picture, utility) in enumerate(zip(row.images[agent], row.utility[agent], strict=True)):
            right = left + i * (PICTURE + GAP)
            sheet.paste(to_image(picture, PICTURE), (right, above))
            better = name != "plain" and "plain" in rows and utility > rows["plain"].utility[agent, i]
            face = font(12, "Sans-Bold" if better else "Sans")
            pen.text(
                (right + PICTURE // 2, above + PICTURE + 4),
                f"{round(utility, 1) + 0.0:+.1f}",
                colour,
                face,
                anchor="ma",
            )
