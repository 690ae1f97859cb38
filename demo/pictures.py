"""Make the pictures that the repository shows from what `make demo` painted.

    make demo && make python ARGS="-m demo.pictures"

Writes workflows/quickstart.jpg, the template's picture in ComfyUI, and docs/demo.jpg, the README's.
"""

from pathlib import Path

from PIL import Image, ImageDraw

from demo.__main__ import OUT
from demo.plan import ROOT, Cell, Plan
from demo.sheet import COLOURS, GREY, INK, PAPER, fit, font

SIDE, PICTURE, EDGE = 640, 284, 24


def card(plan: Plan, folder: Path, prompt: str) -> Image.Image:
    """One prompt as the adapter paints it for each person, side by side."""
    made = Image.new("RGB", (SIDE, SIDE), PAPER)
    pen = ImageDraw.Draw(made)
    pen.text((SIDE // 2, 92), prompt, INK, font(34, "Serif"), anchor="mm")
    pen.text((SIDE // 2, 140), "one prompt, one seed, two tastes", GREY, font(17), anchor="mm")
    for person, colour, x in zip(plan.people, COLOURS, (EDGE, SIDE - EDGE - PICTURE), strict=True):
        with Image.open(folder / Cell(prompt, "adapter", person).file) as picture:
            made.paste(fit(picture.convert("RGB"), PICTURE), (x, 196))
        pen.rectangle((x, 196 + PICTURE, x + PICTURE - 1, 200 + PICTURE), colour)
        pen.text((x + PICTURE // 2, 524), person, colour, font(28, "Serif-Bold"), anchor="mm")
    return made


def main() -> None:
    plan = Plan()
    card(plan, OUT, plan.prompts[0]).save(ROOT / "workflows" / "quickstart.jpg", quality=90)
    (ROOT / "docs").mkdir(exist_ok=True)
    with Image.open(OUT / "sheet.png") as sheet:
        sheet.convert("RGB").save(ROOT / "docs" / "demo.jpg", quality=85)


if __name__ == "__main__":
    main()
