"""Draws the picture of a profile: rated images, cross-validated scores, and similar users.

`content.py` defines the content, `canvas.py` does the drawing, and each section has its own file:
`image_wall.py`, `score_axis.py`, `similar_users.py`. Nothing here depends on ComfyUI.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from . import image_wall, score_axis, similar_users
from .canvas import Sheet
from .content import PanelContent, RatedThumbnail, SimilarUser

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["PanelContent", "RatedThumbnail", "SimilarUser", "draw_panel"]


def draw_panel(
    content: PanelContent,
    scored: Sequence[RatedThumbnail] = (),
    similar: Sequence[SimilarUser] = (),
    notes: Sequence[str] = (),
) -> Image:
    """Draw the picture of a profile. Empty sections are left out.

    Args:
        scored: Images with their scores.
        similar: Other users, the most similar first.
        notes: Sentences at the end.

    Returns:
        An RGB image.
    """
    sheet = Sheet()
    image_wall.draw(sheet, content)
    if scored:
        score_axis.draw(sheet, scored)
    if similar:
        similar_users.draw(sheet, similar)
    for note in notes:
        sheet.skip(14)
        sheet.paragraph(note)
    return sheet.image()
