"""Draws a person's profile as one picture: rated images, held-out scores, and similar users.

`content.py` holds what is drawn, `canvas.py` and `fonts.py` do the drawing, and each section has a file of its own:
`image_wall.py`, `score_axis.py`, `similar_users.py`. Nothing here depends on ComfyUI, and the wall needs no model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from . import image_wall, score_axis, similar_users
from .canvas import Sheet
from .content import PanelUser, RatedThumbnail, SimilarUser

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Kin", "Person", "Shown", "draw_panel"]


def draw_panel(
    person: PanelUser, scored: Sequence[RatedThumbnail] = (), kin: Sequence[SimilarUser] = (), notes: Sequence[str] = ()
) -> Image:
    """The picture, RGB. scored: images with their score; kin: others, the most alike first; each section is left out
    where it is empty. notes: sentences that stand at the end."""
    sheet = Sheet()
    image_wall.draw(sheet, person)
    if scored:
        score_axis.draw(sheet, scored)
    if kin:
        similar_users.draw(sheet, kin)
    for note in notes:
        sheet.gap(14)
        sheet.paragraph(note)
    return sheet.image()
