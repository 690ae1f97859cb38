"""`python -m train.evaluate.generation.strength`: which strength of the adapter, by what may be chosen by.

Other agents, posters, prompts and seeds than the test's, and PrefDisc's score and CLIP-Text, never the judge.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from train.evaluate import style
from train.evaluate.command import CLUSTERED, Options, Report, command
from train.evaluate.generation.painting import Painting
from train.evaluate.generation.rows import ROWS
from train.evaluate.generation.run import FOLDER
from train.evaluate.pictures.agents import PROMPTS, SEEDS
from train.evaluate.pictures.drawn import SUBJECTS, validation_agents
from train.evaluate.pictures.measuring import Instruments, Measured
from train.evaluate.statistics import over_users

USERS, STRENGTHS = 48, (0.5, 1.0, 1.5, 2.0, 2.5)
LEAST_TEXT = 0.9
"""Of plain's CLIP-Text, what has to stay (default ours): a stronger adapter may please by forgetting the prompt."""


def choose(scores: dict[float, float], texts: dict[float, float], plain: float) -> float:
    """The strength of the highest score among those that keep enough of plain's CLIP-Text; the least where none does.

    scores, texts: strength -> mean PrefDisc score and CLIP-Text.
    """
    kept = [strength for strength in scores if texts[strength] >= LEAST_TEXT * plain]
    return max(kept, key=scores.__getitem__) if kept else min(scores)


def measure(options: Options) -> Report:
    """Paint plain and every strength; choose."""
    (agents, eyes), given = validation_agents(options), options.given
    # No judge: nothing here is to be chosen by it.
    instruments = Instruments(options.model(), None, eyes, agents)
    everyone, found = np.arange(len(agents)), {}
    for strength in (0.0, *given.strengths):
        painting = Painting(instruments.model, given.folder / "pictures", strength)
        name = "full" if strength else "plain"
        images = painting.paint(agents, name, ROWS[name], everyone)
        found[strength] = instruments.measure(images, everyone, f"at {strength:g}")
    scores = {strength: over_users(row.score) for strength, row in found.items()}
    texts = {strength: over_users(row.clip_text) for strength, row in found.items()}
    means = [{s: e.value for s, e in part.items() if s} for part in (scores, texts)]
    chosen = choose(*means, texts[0.0].value)
    result = {
        "strength": chosen,
        "score": {str(strength): estimate.to_json() for strength, estimate in scores.items()},
        "clip_text": {str(strength): estimate.to_json() for strength, estimate in texts.items()},
        "users": options.users,
        "checkpoint": options.checkpoint,
    }
    rows = [
        (f"{strength:g}" if strength else "0 (plain)", scores[strength].text(), texts[strength].text())
        for strength in found
    ]
    measured = (
        f"{options.users:,} validation agents over {options.told_seeds}, {PROMPTS * SEEDS} pictures each, of prompts "
        f"({', '.join(SUBJECTS)}), posters and seeds that the test does not have. {CLUSTERED}"
    )
    notes = [
        f"Chosen: {chosen:g}, the highest score that keeps {LEAST_TEXT:.0%} of plain's CLIP-Text. The judge, by which "
        "the test is read, has no part in it."
    ]
    columns = ("strength", "PrefDisc score", "CLIP-Text (pocket CLIP)")
    return Report("The adapter's strength", measured, columns, rows, result, draw(found, chosen), notes)


def draw(found: dict[float, Measured], chosen: float) -> Figure:
    """Both measures over strength, with their intervals."""
    drawn, panels = style.figure(8, 3.2, 1, 2)
    for axes, name, title in zip(panels, ("score", "clip_text"), ("PrefDisc score", "CLIP-Text"), strict=True):
        estimates = [over_users(getattr(row, name)) for row in found.values()]
        strengths = list(found)
        low, high = [e.low for e in estimates], [e.high for e in estimates]
        axes.fill_between(strengths, low, high, color=style.OURS, alpha=0.2)
        axes.plot(strengths, [e.value for e in estimates], color=style.OURS, marker="o", markersize=4)
        axes.axvline(chosen, color=style.LIMIT, linewidth=1, linestyle=(0, (4, 3)))
        style.plain(axes).set_title(title, fontsize=10, loc="left", color=style.INK)
    style.heading(drawn, f"Strength {chosen:g}", "Over the adapter's strength; 95 % intervals. Green: what was chosen.")
    return drawn


def add_options(parser: argparse.ArgumentParser) -> None:
    """Which strengths."""
    parser.add_argument("--strengths", type=float, nargs="+", default=STRENGTHS, help="to try, above 0")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where pictures are kept")


def main(argv: list[str] | None = None) -> dict:
    """The command."""
    return command("generation.strength", measure, USERS, argv, add_options, __doc__)


if __name__ == "__main__":
    main()
