"""Draws the twelve subjects, each in a unit box with the colours of a palette."""

from __future__ import annotations

from collections.abc import Callable
from math import cos, pi, sin

from .palettes import Palette
from .pen import Pen


def _star(x: float, y: float, outer: float, inner: float, points: int) -> list[tuple[float, float]]:
    radii = [outer if i % 2 == 0 else inner for i in range(2 * points)]
    return [(x + r * sin(i * pi / points), y - r * cos(i * pi / points)) for i, r in enumerate(radii)]


def sun(pen: Pen, p: Palette) -> None:
    pen.polygon(p.accent, *_star(0.5, 0.5, 0.49, 0.36, 14))
    pen.ellipse(p.main, 0.5, 0.5, 0.3)


def moon(pen: Pen, p: Palette) -> None:
    rim = [(0.5 + 0.42 * cos(a), 0.5 + 0.42 * sin(a)) for a in [pi * (0.32 + 1.36 * i / 24) for i in range(25)]]
    bite = [(0.69 + 0.36 * cos(a), 0.5 + 0.36 * sin(a)) for a in [pi * (1.60 - 1.20 * i / 24) for i in range(25)]]
    pen.polygon(p.light, *rim, *bite)
    pen.polygon(p.accent, *_star(0.80, 0.26, 0.13, 0.045, 4))
    pen.polygon(p.accent, *_star(0.74, 0.62, 0.10, 0.035, 4))


def mountain(pen: Pen, p: Palette) -> None:
    pen.polygon(p.accent, (0.48, 1), (0.78, 0.42), (1.05, 1))
    pen.polygon(p.main, (-0.05, 1), (0.42, 0.08), (0.86, 1))
    pen.polygon(p.light, (0.42, 0.08), (0.27, 0.38), (0.36, 0.46), (0.43, 0.37), (0.50, 0.47), (0.57, 0.39))


def tree(pen: Pen, p: Palette) -> None:
    pen.box(p.accent, 0.43, 0.58, 0.57, 1)
    for x, y, r in ((0.28, 0.46, 0.22), (0.72, 0.46, 0.22), (0.5, 0.28, 0.27), (0.5, 0.5, 0.22)):
        pen.ellipse(p.main, x, y, r)
    for x, y in ((0.32, 0.42), (0.56, 0.24), (0.66, 0.5)):
        pen.ellipse(p.light, x, y, 0.06)


def house(pen: Pen, p: Palette) -> None:
    pen.box(p.accent, 0.66, 0.10, 0.79, 0.4)
    pen.box(p.main, 0.14, 0.45, 0.86, 1)
    pen.polygon(p.accent, (0.02, 0.47), (0.5, 0.07), (0.98, 0.47))
    pen.box(p.ink, 0.42, 0.66, 0.60, 1)
    pen.box(p.light, 0.21, 0.57, 0.36, 0.73)
    pen.box(p.light, 0.66, 0.57, 0.80, 0.73)


def boat(pen: Pen, p: Palette) -> None:
    pen.box(p.ink, 0.45, 0.02, 0.51, 0.75)
    pen.polygon(p.light, (0.54, 0.08), (0.54, 0.68), (0.94, 0.68))
    pen.polygon(p.accent, (0.42, 0.18), (0.42, 0.68), (0.10, 0.68))
    pen.polygon(p.main, (0.0, 0.74), (1.0, 0.74), (0.82, 0.98), (0.18, 0.98))


def cactus(pen: Pen, p: Palette) -> None:
    pen.ellipse(p.accent, 0.5, 0.07, 0.09)
    pen.box(p.main, 0.06, 0.34, 0.20, 0.64)
    pen.box(p.main, 0.06, 0.52, 0.44, 0.66)
    pen.box(p.main, 0.80, 0.22, 0.94, 0.54)
    pen.box(p.main, 0.56, 0.42, 0.94, 0.56)
    pen.box(p.main, 0.37, 0.1, 0.63, 1)
    pen.box(p.light, 0.47, 0.2, 0.53, 0.92)


def lighthouse(pen: Pen, p: Palette) -> None:
    pen.polygon(p.main, (0.30, 1), (0.37, 0.30), (0.63, 0.30), (0.70, 1))
    pen.polygon(p.light, (0.355, 0.46), (0.645, 0.46), (0.66, 0.60), (0.34, 0.60))
    pen.polygon(p.light, (0.325, 0.76), (0.675, 0.76), (0.69, 0.89), (0.31, 0.89))
    pen.box(p.accent, 0.41, 0.14, 0.59, 0.30)
    pen.box(p.ink, 0.31, 0.26, 0.69, 0.32)
    pen.polygon(p.main, (0.36, 0.15), (0.5, 0.0), (0.64, 0.15))


def balloon(pen: Pen, p: Palette) -> None:
    pen.polygon(p.ink, (0.34, 0.62), (0.66, 0.62), (0.56, 0.86), (0.44, 0.86))
    pen.ellipse(p.main, 0.5, 0.37, 0.36, 0.37)
    pen.ellipse(p.light, 0.5, 0.37, 0.21, 0.37)
    pen.ellipse(p.accent, 0.5, 0.37, 0.08, 0.37)
    pen.box(p.accent, 0.40, 0.84, 0.60, 1)


def flower(pen: Pen, p: Palette) -> None:
    pen.box(p.ink, 0.46, 0.5, 0.54, 1)
    pen.polygon(p.ink, (0.5, 0.92), (0.18, 0.66), (0.2, 0.86))
    pen.polygon(p.ink, (0.5, 0.86), (0.82, 0.60), (0.8, 0.80))
    for i in range(6):
        pen.ellipse(p.main, 0.5 + 0.21 * sin(i * pi / 3), 0.33 - 0.21 * cos(i * pi / 3), 0.13)
    pen.ellipse(p.light, 0.5, 0.33, 0.14)


def mushroom(pen: Pen, p: Palette) -> None:
    pen.polygon(p.light, (0.38, 0.48), (0.62, 0.48), (0.68, 1), (0.32, 1))
    cap = [(0.5 + 0.48 * cos(pi + pi * i / 20), 0.54 + 0.47 * sin(pi + pi * i / 20)) for i in range(21)]
    pen.polygon(p.main, *cap)
    for x, y, r in ((0.3, 0.36, 0.075), (0.52, 0.22, 0.085), (0.72, 0.40, 0.07)):
        pen.ellipse(p.accent, x, y, r)


def fish(pen: Pen, p: Palette) -> None:
    pen.polygon(p.accent, (0.68, 0.5), (1.0, 0.24), (0.93, 0.5), (1.0, 0.76))
    pen.polygon(p.accent, (0.36, 0.32), (0.52, 0.10), (0.60, 0.34))
    pen.ellipse(p.main, 0.40, 0.5, 0.38, 0.25)
    pen.polygon(p.light, (0.42, 0.27), (0.52, 0.28), (0.52, 0.72), (0.42, 0.73))
    pen.ellipse(p.light, 0.20, 0.44, 0.085)
    pen.ellipse(p.ink, 0.19, 0.44, 0.045)


SUBJECTS: dict[str, Callable[[Pen, Palette], None]] = {
    f.__name__: f for f in (sun, moon, mountain, tree, house, boat, cactus, lighthouse, balloon, flower, mushroom, fish)
}
