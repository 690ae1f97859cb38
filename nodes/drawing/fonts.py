"""Finds a font for a text. Pillow's built-in font has only Latin letters, so other scripts use system fonts."""

from __future__ import annotations

from functools import lru_cache

from PIL import ImageFont

SYSTEM_FONTS = (
    *("NotoSansCJK-Regular.ttc", "NotoSansCJKsc-Regular.otf", "SourceHanSans-Regular.ttc", "wqy-microhei.ttc"),
    *("msyh.ttc", "YuGothM.ttc", "meiryo.ttc", "malgun.ttf", "PingFang.ttc", "Hiragino Sans GB.ttc"),
    *("Arial Unicode.ttf", "NotoSans-Regular.ttf", "DejaVuSans.ttf", "segoeui.ttf", "arial.ttf"),
)
"""File names of fonts on Linux, Windows and macOS."""

UNASSIGNED = "\uffff"
"""A character that no font contains."""

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@lru_cache(maxsize=64)
def _load(name: str, size: int) -> Font | None:
    try:
        return ImageFont.truetype(name, size) if name else ImageFont.load_default(size)
    except OSError:
        return None


def _has_characters(font: ImageFont.FreeTypeFont, text: str) -> bool:
    """Return whether a font has a glyph for every character of a text. Missing ones are all drawn as the same box."""
    box = bytes(font.getmask(UNASSIGNED))
    return not any(bytes(font.getmask(character)) == box for character in set(text) if not character.isspace())


def font_for(text: str, size: int) -> tuple[Font, str]:
    """Return a font for a text, and the text with "?" for each character that the font does not have."""
    default = _load("", size)
    if text.isascii():
        return default, text
    for font in (default, *(_load(name, size) for name in SYSTEM_FONTS)):
        if font is not None and _has_characters(font, text):
            return font, text
    return default, "".join(one if one.isspace() or _has_characters(default, one) else "?" for one in text)
