"""A person's profile as one picture: what they rated, how well it is foretold, and whom they are like.

`seen.py` says what is shown, `sheet.py` and `fonts.py` draw on paper that grows downwards, and each section has a file:
`wall.py`, `scores.py`, `alike.py`. Nothing here knows ComfyUI, and no model is needed for the wall.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from . import alike, scores, wall
from .seen import Kin, Person, Shown
from .sheet import Sheet

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Kin", "Person", "Shown", "draw_panel"]


def draw_panel(
    person: Person, scored: Sequence[Shown] = (), kin: Sequence[Kin] = (), notes: Sequence[str] = ()
) -> Image:
    """The picture, RGB. scored: images with their score; kin: others, the most alike first; each section is left out
    where it is empty. notes: sentences that stand at the end."""
    sheet = Sheet()
    wall.draw(sheet, person)
    if scored:
        scores.draw(sheet, scored)
    if kin:
        alike.draw(sheet, kin)
    for note in notes:
        sheet.gap(14)
        sheet.paragraph(note)
    return sheet.image()
