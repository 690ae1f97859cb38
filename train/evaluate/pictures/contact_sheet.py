"""Provides colours, fonts, the selection of agents and image conversion for contact sheets."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageFont
from torch import Tensor

from train.evaluate.pictures.agents import Agents

PAPER, INK, GREY, LINE, OWN, CONTROL = "#f7f4ee", "#24211d", "#8d877c", "#ddd6c9", "#0f766e", "#b4532a"


def choose_agents(agents: Agents, count: int = 4) -> list[int]:
    """Choose agents to show: the first of each group, so that tastes differ, regardless of the pictures."""
    firsts = np.unique(agents.groups, return_index=True)[1].tolist()
    others = [i for i in range(len(agents)) if i not in firsts]
    return sorted((sorted(firsts) + others)[:count])


def to_image(picture: Tensor, size: int) -> Image.Image:
    """Convert uint8 (3, H, W) to a square PIL image of `size` pixels."""
    return Image.fromarray(picture.permute(1, 2, 0).numpy()).resize((size, size), Image.Resampling.LANCZOS)


@cache
def font(size: int, style: str = "Sans") -> ImageFont.FreeTypeFont:
    """Load DejaVu from matplotlib, so that sheets look the same on every machine."""
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"DejaVu{style}.ttf", size)
