"""The contact sheet: both histories on top, then one row of pictures a prompt, with what the numbers say under each."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from demo.config import DemoConfig, HistoryFiles, PictureSpec

PAPER, INK, GREY, LINE = "#f7f4ee", "#24211d", "#8d877c", "#ddd6c9"
COLOURS = ("#0f766e", "#b4532a")  # one a person
MARGIN, GAP = 64, 14
PICTURE, THUMB = 192, 78
LABEL = 150  # width of the prompts' column
GUTTER = 44  # between the two methods' blocks
CAPTION = 52  # height of the numbers under a picture
HEADINGS = {"plain": "plain", "adapter": "adapter", "plain_reno": "plain, few steps", "reno": "ReNO"}


@cache
def font(size: int, style: str = "Sans") -> ImageFont.FreeTypeFont:
    """DejaVu, as matplotlib ships it: the same letters on every machine."""
    import matplotlib

    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"DejaVu{style}.ttf", size)


@dataclass(frozen=True)
class PictureScores:
    """What is written under a picture, by person: the score in [0, 1] and the true utility."""

    score: dict[str, float]
    utility: dict[str, float]


def draw_sheet(
    config: DemoConfig,
    histories: Sequence[HistoryFiles],
    pictures: dict[PictureSpec, Image.Image],
    numbers: dict[PictureSpec, PictureScores],
) -> Image.Image:
    """Lay everything out and return the sheet, RGB."""
    columns = len(pictures) // len(config.prompts)
    width = 2 * MARGIN + LABEL + columns * PICTURE + (columns - 2) * GAP + GUTTER
    top = 150 + 44 + 2 * (THUMB + 14) + 40
    height = top + 56 + len(config.prompts) * (PICTURE + CAPTION + 22) + 70
    sheet = Image.new("RGB", (width, height), PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.text((MARGIN, 46), "PrefGen", INK, font(40, "Serif"))
    pen.text(
        (MARGIN, 102),
        f"A row starts from one prompt and one noise; ReNO tries {config.starts - 1} others too. Of each person, the "
        "models know only these pairs.",
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
            draw_numbers(pen, (x, y + PICTURE + 9), numbers[spec], people, spec.person)
    pen.text(
        (MARGIN, height - 52),
        "score: how much PrefDisc expects the person to like it, 0 to 1.   "
        "utility: the person's true utility of what a judge, trained on drawings only, sees in it.",
        GREY,
        font(14),
    )
    return sheet


def draw_history(sheet: Image.Image, at: tuple[int, int], history: HistoryFiles, colour: str, width: int) -> None:
    """A person's liked images above the disliked ones, the disliked a little faded."""
    x, y = at
    pen = ImageDraw.Draw(sheet)
    pen.text((x, y), history.person, colour, font(24, "Serif-Bold"))
    step = min(THUMB + 8, (width - 76) // max(len(history.liked), 1))
    for row, (word, paths, kept) in enumerate((("likes", history.liked, 1.0), ("dislikes", history.disliked, 0.72))):
        above = y + 44 + row * (step + 6)
        pen.text((x, above + step // 2 - 4), word, GREY, font(14), anchor="lm")
        for column, path in enumerate(paths):
            thumb = fit(Image.open(path).convert("RGB"), step - 8)
            faded = Image.blend(Image.new("RGB", thumb.size, PAPER), thumb, kept)
            sheet.paste(faded, (x + 76 + column * step, above))


def draw_heading(pen: ImageDraw.ImageDraw, at: tuple[int, int], spec: PictureSpec, people: dict[str, str]) -> None:
    x, y = at
    pen.text((x, y), HEADINGS[spec.method], GREY if spec.person else INK, font(15))
    if spec.person:
        pen.text((x, y + 20), f"for {spec.person}", people[spec.person], font(19, "Serif-Bold"))
    else:
        pen.text((x, y + 20), "for nobody", GREY, font(19, "Serif"))


def draw_prompt(pen: ImageDraw.ImageDraw, at: tuple[int, int], prompt: str) -> None:
    """The prompt in its column, one or two words a line."""
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
    """A picture, with a bar in the colour of the person it is for."""
    x, y = at
    sheet.paste(fit(picture.convert("RGB"), PICTURE), at)
    if colour:
        ImageDraw.Draw(sheet).rectangle((x, y + PICTURE, x + PICTURE - 1, y + PICTURE + 3), colour)


def draw_numbers(
    pen: ImageDraw.ImageDraw, at: tuple[int, int], numbers: PictureScores, people: dict[str, str], meant: str | None
) -> None:
    """A line a person: name, score, utility; the person it is for in their colour."""
    x, y = at
    for line, person in enumerate(people):
        chosen = person == meant
        ink, face = (people[person], font(12, "Sans-Bold")) if chosen else (GREY, font(12))
        height = y + line * 19
        pen.text((x, height), person, ink, face)
        pen.text((x + 36, height), f"score {numbers.score[person]:.2f}", ink, face)
        pen.text((x + PICTURE, height), f"utility {numbers.utility[person]:+.1f}", ink, face, anchor="ra")


def fit(picture: Image.Image, size: int) -> Image.Image:
    """Scale to a square: whole multiples keep their pixels' edges, everything else is resampled."""
    exact = size % picture.width == 0 and size >= picture.width
    return picture.resize((size, size), Image.Resampling.NEAREST if exact else Image.Resampling.LANCZOS)
