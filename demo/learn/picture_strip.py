"""Draws one agent's rounds side by side: its pictures with its ratings, and the plain pictures below."""

from PIL import Image, ImageDraw

from demo.contact_sheet import (
    COLOURS,
    GREY,
    INK,
    LINE,
    PAPER,
    fit,
    font,
)
from demo.learn.rating_loop import Round
from demo.learn.simulated_raters import SimulatedRater

LIKED, DISLIKED = COLOURS
PICTURE, GAP, COLUMN_GAP, MARGIN, LABEL = 96, 10, 26, 56, 116
ACROSS = 2  # number of pictures side by side in a round
TOP, HEADING, CAPTION, BETWEEN = 138, 56, 30, 26


def draw_strip(rater: SimulatedRater, rounds: list[Round]) -> Image.Image:
    """Draw the strip, an RGB image: one column for each round, with personalised pictures above plain ones."""
    lines = (len(rounds[0].pictures) + ACROSS - 1) // ACROSS
    block = lines * (PICTURE + GAP) + CAPTION
    column = ACROSS * PICTURE + GAP + COLUMN_GAP
    width = 2 * MARGIN + LABEL + len(rounds) * column - COLUMN_GAP
    strip = Image.new("RGB", (width, TOP + HEADING + 2 * block + BETWEEN + 72), PAPER)
    pen = ImageDraw.Draw(strip)
    pen.text((MARGIN, 30), "Pictures and ratings by round", INK, font(34, "Serif"))
    pen.text((MARGIN, 80), f"likes {', '.join(rater.likes)}", LIKED, font(15))
    pen.text((MARGIN, 102), f"dislikes {', '.join(rater.dislikes)}", DISLIKED, font(15))
    own, plain = TOP + HEADING, TOP + HEADING + block + BETWEEN
    pen.line((MARGIN, plain - BETWEEN // 2 - 6, width - MARGIN, plain - BETWEEN // 2 - 6), LINE, 1)
    for above, words, colour in ((own, ("for", rater.agent.name), INK), (plain, ("not per-", "sonalised"), GREY)):
        for word, down in zip(words, (-12, 12), strict=True):
            pen.text((MARGIN, above + (block - CAPTION) // 2 + down), word, colour, font(18, "Serif"), anchor="lm")
    for index, round_ in enumerate(rounds):
        x = MARGIN + LABEL + index * column
        pen.text((x, TOP), f"round {index + 1}", INK, font(17, "Serif-Bold"))
        pen.text((x, TOP + 25), round_.prompt, GREY, font(14))
        draw_batch(strip, (x, own), round_.pictures, round_.ratings)
        draw_batch(strip, (x, plain), round_.plain, {})
        for above, values, ink in ((own, round_.utility, INK), (plain, round_.plain_utility, GREY)):
            words = f"utility {round(float(values.mean()), 1) + 0.0:+.1f}"
            pen.text((x, above + block - CAPTION + 2), words, ink, font(14, "Sans-Bold" if ink == INK else "Sans"))
    words = (
        "Bars: likes and dislikes of the agent, the only input to the models.\n"
        "Utility: mean true utility, from attributes that a classifier predicts."
    )
    pen.multiline_text((MARGIN, strip.height - 56), words, GREY, font(13), spacing=5)
    return strip


def draw_batch(
    strip: Image.Image, at: tuple[int, int], pictures: tuple[Image.Image, ...], ratings: dict[int, bool]
) -> None:
    """Draw a batch in rows of two, with a bar below each rated picture."""
    pen = ImageDraw.Draw(strip)
    for place, picture in enumerate(pictures):
        x, y = at[0] + place % ACROSS * (PICTURE + GAP), at[1] + place // ACROSS * (PICTURE + GAP)
        strip.paste(fit(picture.convert("RGB"), PICTURE), (x, y))
        if place in ratings:
            colour = LIKED if ratings[place] else DISLIKED
            pen.rectangle((x, y + PICTURE, x + PICTURE - 1, y + PICTURE + 4), colour)
