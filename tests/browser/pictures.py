"""Make the picture of the workflow that rates, as the tests of rating saw it.

    make test ARGS=tests/browser/test_rating.py && make python ARGS="-m tests.browser.pictures"

Writes workflows/rate_and_learn.jpg: the node when it was rated, and after the next run.
"""

from PIL import Image, ImageDraw

from demo.sheet import GREY, INK, PAPER, font
from tests.browser.test_rating import OUT
from tests.comfyui.server import PACK

SIDE = 640
NODE = (446, 84, 874, 830)  # where the tests put the node, in a picture of the page
WIDTH, TOP = 304, 92


def main() -> None:
    made = Image.new("RGB", (SIDE, SIDE), PAPER)
    pen = ImageDraw.Draw(made)
    pen.text((SIDE // 2, 40), "rate, run again", INK, font(30, "Serif"), anchor="mm")
    pen.text((SIDE // 2, 72), "one prompt, the same seeds", GREY, font(15), anchor="mm")
    height = WIDTH * (NODE[3] - NODE[1]) // (NODE[2] - NODE[0])
    for name, x in (("canvas-rated", 10), ("canvas-to-taste", SIDE - 10 - WIDTH)):
        with Image.open(OUT / f"{name}.png") as page:
            node = page.convert("RGB").crop(NODE).resize((WIDTH, height), Image.Resampling.LANCZOS)
        made.paste(node, (x, TOP))
    made.save(PACK / "workflows" / "rate_and_learn.jpg", quality=90)


if __name__ == "__main__":
    main()
