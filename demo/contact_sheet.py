"""Draws the contact sheet of the demo: both histories, then one row of pictures with scores for each prompt."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from demo.config import DemoConfig, HistoryFiles, PictureSpec

PAPER, INK, GREY, LINE = "#f7f4ee", "#24211d", "#8d877c", "#ddd6c9"
COLOURS = ("#0f766e", "#b4532a")  # one per person
MARGIN, GAP = 64, 14
PICTURE, THUMB = 192, 78
LABEL = 150  # width of the prompts' column
GUTTER = 44  # between the two methods' blocks
CAPTION = 52  # height of the scores under a picture
HEADINGS = {"plain": "plain", "adapter": "adapter", "plain_reno": "plain, few steps", "reno": "ReNO"}


@cache
def font(size: int, style: str = "Sans") -> ImageFont.FreeTypeFont:
    """Load DejaVu from matplotlib, so that sheets look the same on every machine."""
    import matplotlib

    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"DejaVu{style}.ttf", size)


@dataclass(frozen=True)
class PictureScores:
    """Score in [0, 1] and true utility of a picture for each person."""

    score: dict[str, float]
    utility: dict[str, float]


def draw_sheet(
    config: DemoConfig,
    histories: Sequence[HistoryFiles],
    pictures: dict[PictureSpec, Image.Image],
    scores: dict[PictureSpec, PictureScores],
) -> Image.Image:
    """Draw the contact sheet, an RGB image."""
    columns = len(pictures) // len(config.prompts)
    width = 2 * MARGIN + LABEL + columns * PICTURE + (columns - 2) * GAP + GUTTER
    top = 150 + 44 + 2 * (THUMB + 14) + 40
    height = top + 56 + len(config.prompts) * (PICTURE + CAPTION + 22) + 70
    sheet = Image.new("RGB", (width, height), PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.text((MARGIN, 46), "PrefGen", INK, font(40, "Serif"))
    pen.text(
        (MARGIN, 102),
        f"All pictures of a row share the prompt and the noise; ReNO also tries {config.num_initial_noises - 1} other "
        "noises. The models know only these pairs of each person.",
        GREY,
        font(17),
    )
    half = (width - 2 * MARGIN + GUTTER) // 2
    for index, history in enumerate(histories):
        draw_history(sheet, (MARGIN + index * half, 150), history, COLOURS[index], half - GUTTER)
    pen.line((MARGIN, top - 22, width - MARGIN, top - 22), LINE, 1)
    people = dict(zip(config.people, COLOURS, strict=True))
    for row, prompt in enumerate(config.prompts):
        y = top + 56 + row * (PICTURE + CAPTION + 22)
        draw_prompt(pen, (MARGIN, y), prompt)
        for column, spec in enumerate(spec for spec in pictures if spec.prompt == prompt):
            x = MARGIN + LABEL + column * (PICTURE + GAP) + (GUTTER - GAP) * (column >= columns // 2)
            if row == 0:
                draw_heading(pen, (x, top), spec, people)
            draw_picture(sheet, (x, y), pictures[spec], people.get(spec.person))
            draw_numbers(pen, (x, y + PICTURE + 9), scores[spec], people, spec.person)
    pen.text(
        (MARGIN, height - 52),
        "score: how much PrefDisc expects the person to like the picture, 0 to 1.   "
        "utility: the person's true utility, from attributes that a classifier predicts.",
        GREY,
        font(14),
    )
    return sheet


def draw_history(sheet: Image.Image, at: tuple[int, int], history: HistoryFiles, colour: str, width: int) -> None:
    """Draw a person's liked images above the disliked ones, which are slightly faded."""
    x, y = at
    pen = ImageDraw.Draw(sheet)
    pen.text((x, y), history.person, colour, font(24, "Serif-Bold"))
    step = min(THUMB + 8, (width - 76) // max(len(history.liked), 1))
    for row, (label, paths, opacity) in enumerate(
        (("likes", history.liked, 1.0), ("dislikes", history.disliked, 0.72))
    ):
        above = y + 44 + row * (step + 6)
        pen.text((x, above + step // 2 - 4), label, GREY, font(14), anchor="lm")
        for column, path in enumerate(paths):
            thumb = fit(Image.open(path).convert("RGB"), step - 8)
            faded = Image.blend(Image.new("RGB", thumb.size, PAPER), thumb, opacity)
            sheet.paste(faded, (x + 76 + column * step, above))


def draw_heading(pen: ImageDraw.ImageDraw, at: tuple[int, int], spec: PictureSpec, people: dict[str, str]) -> None:
    """Draw the heading of a column: method and person."""
    x, y = at
    pen.text((x, y), HEADINGS[spec.method], GREY if spec.person else INK, font(15))
    if spec.person:
        pen.text((x, y + 20), f"for {spec.person}", people[spec.person], font(19, "Serif-Bold"))
    else:
        pen.text((x, y + 20), "not personalised", GREY, font(19, "Serif"))


def draw_prompt(pen: ImageDraw.ImageDraw, at: tuple[int, int], prompt: str) -> None:
    """Draw the prompt in its column, with one or two words on each line."""
    x, y = at
    lines = [""]
    for word in prompt.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and pen.textlength(longer, font(19, "Serif")) > LABEL - 20:
            lines.append(word)
        else:
            lines[-1] = longer
    pen.multiline_text((x, y + PICTURE // 2), "\n".join(lines), INK, font(19, "Serif"), anchor="lm", spacing=7)


def draw_picture(sheet: Image.Image, at: tuple[int, int], picture: Image.Image, colour: str | None) -> None:
    """Draw a picture, with a bar in the colour of its person."""
    x, y = at
    sheet.paste(fit(picture.convert("RGB"), PICTURE), at)
    if colour:
        ImageDraw.Draw(sheet).rectangle((x, y + PICTURE, x + PICTURE - 1, y + PICTURE + 3), colour)


def draw_numbers(
    pen: ImageDraw.ImageDraw, at: tuple[int, int], scores: PictureScores, people: dict[str, str], own_person: str | None
) -> None:
    """Draw one line with name, score and utility for each person. The line of the picture's own person is coloured."""
    x, y = at
    for line, person in enumerate(people):
        chosen = person == own_person
        ink, face = (people[person], font(12, "Sans-Bold")) if chosen else (GREY, font(12))
        height = y + line * 19
        pen.text((x, height), person, ink, face)
        pen.text((x + 36, height), f"score {scores.score[person]:.2f}", ink, face)
        pen.text((x + PICTURE, height), f"utility {scores.utility[person]:+.1f}", ink, face, anchor="ra")


def fit(picture: Image.Image, size: int) -> Image.Image:
    """Resize to a square: integer factors use nearest-neighbour, all others Lanczos resampling."""
    exact = size % picture.width == 0 and size >= picture.width
    return picture.resize((size, size), Image.Resampling.NEAREST if exact else Image.Resampling.LANCZOS)
