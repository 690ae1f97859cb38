"""Defines eight palettes. Colours are named by their role, so that every subject and scene works in every palette."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Palette:
    """Colours as "#rrggbb": sky and its texture, ground and its marks, three for the subject, and ink for lines."""

    sky: str
    sky_mark: str
    ground: str
    ground_mark: str
    main: str
    accent: str
    light: str
    ink: str


PALETTES: dict[str, Palette] = {
    "mono": Palette("#cfcfcb", "#b7b7b2", "#8b8b88", "#686865", "#5c5c5a", "#333332", "#fafaf8", "#161616"),
    "neon": Palette("#2a0a4a", "#451470", "#12082a", "#ff2e93", "#17f0d8", "#ff2e93", "#f8ff3a", "#0a0418"),
    "sunset": Palette("#ffb067", "#ff8f5e", "#8c3a62", "#5c2347", "#e8484f", "#ffd84a", "#fff0cc", "#431337"),
    "retro": Palette("#f0d9a8", "#e3c183", "#dd9148", "#b96a2b", "#3f7d58", "#ab4630", "#fff6df", "#3f2413"),
    "night": Palette("#182453", "#26357a", "#0e1537", "#3a4c9c", "#8093e6", "#ff9d57", "#f6ebba", "#050816"),
    "ocean": Palette("#b3e0ef", "#84c7dd", "#1e76a3", "#11506f", "#e8562c", "#ffc23d", "#ffffff", "#0a2d44"),
    "candy": Palette("#ffcbe1", "#ffa6cb", "#8fdcd4", "#5cb9b1", "#f957a5", "#7b5ddb", "#fff3a6", "#4a1f63"),
    "forest": Palette("#cfe4b0", "#b2d08f", "#4c8f45", "#2f6a35", "#215238", "#f0b23c", "#fdf7d6", "#122b1c"),
}
