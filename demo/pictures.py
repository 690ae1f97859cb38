"""Converts the contact sheet of `make demo` to the picture in the README.

    make demo && make python ARGS="-m demo.pictures"

Writes docs/demo.jpg. `make pictures` creates this picture and those of the workflows.
"""

from PIL import Image

from demo.__main__ import OUT
from demo.config import ROOT


def main() -> None:
    """Write docs/demo.jpg."""
    (ROOT / "docs").mkdir(exist_ok=True)
    with Image.open(OUT / "sheet.png") as sheet:
        sheet.convert("RGB").save(ROOT / "docs" / "demo.jpg", quality=85)


if __name__ == "__main__":
    main()
