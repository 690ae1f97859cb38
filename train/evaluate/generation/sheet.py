"""The contact sheet: a few agents, what they liked, and what was painted for nobody, for them and for somebody else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw
from torch import Tensor

from train.evaluate.pictures.agents import SEEDS, Agents
from train.evaluate.pictures.sheets import (
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
LINES = {
    "plain": ("for", "nobody", GREY),
    "full": ("for this", "person", OWN),
    "other": ("for another", "person", CONTROL),
}


@dataclass(frozen=True)
class Shown:
    """One row's pictures, uint8 (n, m, 3, 96, 96), and their true utilities (n, m), for all agents."""

    images: Tensor
    utility: np.ndarray


def draw_sheet(agents: Agents, shown: Mapping[str, Shown], chosen: Sequence[int]) -> Image.Image:
    """Two agents side by side, as many lines as it takes. shown: any of the rows plain, full and other."""
    lines = (len(chosen) + 1) // 2
    width = 2 * MARGIN + min(2, len(chosen)) * (BLOCK[0] + GUTTER) - GUTTER
    sheet = Image.new("RGB", (width, 140 + lines * (BLOCK[1] + 30) + 50), PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.text((MARGIN, 40), "One prompt, one seed, another taste", INK, font(32, "Serif"))
    pen.text(
        (MARGIN, 88), "Of each person, the models know eight pairs; the liked half is on the left.", GREY, font(15)
    )
    for place, agent in enumerate(chosen):
        at = (MARGIN + place % 2 * (BLOCK[0] + GUTTER), 140 + place // 2 * (BLOCK[1] + 30))
        _draw_agent(sheet, at, agents, shown, agent)
    told = (
        "Under each picture: the person's true utility of what a judge, trained on drawings alone, reads in it; bold "
        "where it is higher than for nobody."
    )
    pen.text((MARGIN, sheet.height - 46), told, GREY, font(13))
    return sheet


def _draw_agent(
    sheet: Image.Image, at: tuple[int, int], agents: Agents, shown: Mapping[str, Shown], agent: int
) -> None:
    (x, y), pen = at, ImageDraw.Draw(sheet)
    pen.line((x, y - 10, x + BLOCK[0], y - 10), LINE, 1)
    pen.text((x, y + 4), "liked", OWN, font(16, "Serif-Bold"))
    for i, picture in enumerate(agents.liked[agent]):
        thumb = to_image((picture * 255).round().byte(), THUMB)
        sheet.paste(thumb, (x + i % 2 * (THUMB + GAP), y + 34 + i // 2 * (THUMB + GAP)))
    left = x + 2 * (THUMB + GAP) + 20 + LABEL
    for i, prompt in enumerate(agents.prompts[agent][::SEEDS]):
        pen.text((left + i * SEEDS * (PICTURE + GAP), y + 4), prompt, INK, font(16, "Serif"))
    for line, (name, row) in enumerate((name, shown[name]) for name in LINES if name in shown):
        first, second, colour = LINES[name]
        above = y + 34 + line * ROW
        for word, down in ((first, -10), (second, 10)):
            place = (left - 12, above + PICTURE // 2 + down)
            pen.text(place, word, colour, font(14, "Serif-Bold" if name == "full" else "Serif"), anchor="rm")
        for i, (picture, utility) in enumerate(zip(row.images[agent], row.utility[agent], strict=True)):
            right = left + i * (PICTURE + GAP)
            sheet.paste(to_image(picture, PICTURE), (right, above))
            better = name != "plain" and "plain" in shown and utility > shown["plain"].utility[agent, i]
            face = font(12, "Sans-Bold" if better else "Sans")
            pen.text(
                (right + PICTURE // 2, above + PICTURE + 4),
                f"{round(utility, 1) + 0.0:+.1f}",
                colour,
                face,
                anchor="ma",
            )
