"""Draws the contact sheet: a few agents, their liked images, and the pictures of every condition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from PIL import Image, ImageDraw

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
from train.evaluate.reno.report import ConditionResult

PICTURE, THUMB, GAP, MARGIN, LABEL = 120, 88, 8, 50, 118
ROW = PICTURE + 24
LINES = {
    "plain": ("plain", GREY),
    "best_of_n": ("best of N", GREY),
    "general": ("CLIP alone", CONTROL),
    "reno": ("ReNO", OWN),
    "adapter": ("adapter", GREY),
    "adapter_reno": ("adapter + ReNO", OWN),
}
"""Labels and colours of the conditions on the sheet."""
WIDTH = 2 * (THUMB + GAP) + LABEL + 4 * (PICTURE + GAP) + 20


def draw_sheet(agents: Agents, results: Mapping[str, ConditionResult], chosen: Sequence[int]) -> Image.Image:
    """Draw the chosen agents, two in each row."""
    lines = [name for name in LINES if name in results]
    block = max(4 * (THUMB + GAP), len(lines) * ROW) + 60
    width = 2 * MARGIN + min(2, len(chosen)) * (WIDTH + MARGIN) - MARGIN
    sheet = Image.new("RGB", (width, 130 + (len(chosen) + 1) // 2 * block + 40), PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.text((MARGIN, 36), "Same prompt and initial noise, optimised for different scores", INK, font(30, "Serif"))
    pen.text((MARGIN, 82), "Each agent's history has eight pairs; the liked images are on the left.", GREY, font(15))
    for place, agent in enumerate(chosen):
        at = (MARGIN + place % 2 * (WIDTH + MARGIN), 130 + place // 2 * block)
        _draw_agent(sheet, at, agents, {name: results[name] for name in lines}, agent)
    caption = "Below each picture: true utility of the attributes that the judge predicts. Bold: higher than plain's."
    pen.text((MARGIN, sheet.height - 34), caption, GREY, font(13))
    return sheet


def _draw_agent(
    sheet: Image.Image, at: tuple[int, int], agents: Agents, results: Mapping[str, ConditionResult], agent: int
) -> None:
    (x, y), pen = at, ImageDraw.Draw(sheet)
    pen.line((x, y - 8, x + WIDTH, y - 8), LINE, 1)
    pen.text((x, y), "liked", OWN, font(15, "Serif-Bold"))
    for i, picture in enumerate(agents.liked_images[agent]):
        thumb = to_image((picture * 255).round().byte(), THUMB)
        sheet.paste(thumb, (x + i % 2 * (THUMB + GAP), y + 28 + i // 2 * (THUMB + GAP)))
    left = x + 2 * (THUMB + GAP) + LABEL
    for i, prompt in enumerate(agents.prompts[agent][::SEEDS]):
        pen.text((left + i * SEEDS * (PICTURE + GAP), y), prompt, INK, font(15, "Serif"))
    for line, (name, result) in enumerate(results.items()):
        (label, colour), above = LINES[name], y + 28 + line * ROW
        pen.text((left - 10, above + PICTURE // 2), label, colour, font(13, "Serif"), anchor="rm")
        for i, (picture, utility) in enumerate(
            zip(result.generated.images[agent], result.measured.utility[agent], strict=True)
        ):
            right = left + i * (PICTURE + GAP)
            sheet.paste(to_image(picture, PICTURE), (right, above))
            face = font(11, "Sans-Bold" if utility > result.plain.utility[agent, i] else "Sans")
            number = f"{round(utility, 1) + 0.0:+.1f}"
            pen.text((right + PICTURE // 2, above + PICTURE + 3), number, colour, face, anchor="ma")
