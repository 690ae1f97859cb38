"""Letters in any size. Pillow's own font knows Latin; for other names one of the system's is looked for."""

from __future__ import annotations

from functools import lru_cache

from PIL import ImageFont

OTHERS = (
    *("NotoSansCJK-Regular.ttc", "NotoSansCJKsc-Regular.otf", "SourceHanSans-Regular.ttc", "wqy-microhei.ttc"),
    *("msyh.ttc", "YuGothM.ttc", "meiryo.ttc", "malgun.ttf", "PingFang.ttc", "Hiragino Sans GB.ttc"),
    *("Arial Unicode.ttf", "NotoSans-Regular.ttf", "DejaVuSans.ttf", "segoeui.ttf", "arial.ttf"),
)
"""Fonts of Linux, Windows and macOS that know more letters, by file name."""

NO_LETTER = "\uffff"


@lru_cache(maxsize=64)
def _opened(name: str, size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont | None:
    try:
        return ImageFont.truetype(name, size) if name else ImageFont.load_default(size)
    except OSError:
        return None


def _knows(font: ImageFont.FreeTypeFont, text: str) -> bool:
    """Whether there is a letter for each; a font draws one and the same box for those that it lacks."""
    box = bytes(font.getmask(NO_LETTER))
    return not any(bytes(font.getmask(letter)) == box for letter in set(text) if not letter.isspace())


def font_for(text: str, size: int) -> tuple[ImageFont.FreeTypeFont | ImageFont.ImageFont, str]:
    """A font in which to write a text, and the text as it can be written: "?" for letters that no font here has."""
    usual = _opened("", size)
    if text.isascii():
        return usual, text
    for font in (usual, *(_opened(name, size) for name in OTHERS)):
        if font is not None and _knows(font, text):
            return font, text
    return usual, "".join(letter if letter.isspace() or _knows(usual, letter) else "?" for letter in text)
