"""`python -m train.evaluate.generation.strength`: which strength of the adapter, by what may be chosen by.

Other agents, posters, prompts and seeds than the test's, and the validation judge, never the test's.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from train.evaluate import style
from train.evaluate.command import CLUSTERED, Options, Report, command
from train.evaluate.generation.painting import Painting
from train.evaluate.generation.report import MOST_LOST
from train.evaluate.generation.rows import ROWS
from train.evaluate.generation.run import FOLDER
from train.evaluate.judge import load_judge
from train.evaluate.pictures.agents import PROMPTS, SEEDS
from train.evaluate.pictures.drawn import validation_agents
from train.evaluate.pictures.measures import wins
from train.evaluate.pictures.measuring import Instruments, Measured
from train.evaluate.statistics import Estimate, bootstrap, over_users
from train.pocket.people import FOR_CHOOSING

USERS, STRENGTHS = 96, (0.5, 0.75, 1.0, 1.25, 1.5, 2.0)


def choose(wins: dict[float, float], obedience: dict[float, float], plain: float) -> float:
    """The strength that wins most among those that lose at most `MOST_LOST` of plain's obedience, since a stronger
    adapter pleases by forgetting the prompt; the least where none does.

    wins, obedience: strength -> win rate over plain, and obedience.
    """
    kept = [strength for strength in wins if plain - obedience[strength] <= MOST_LOST]
    return max(kept, key=wins.__getitem__) if kept else min(wins)


def measure(options: Options) -> Report:
    """Paint plain and every strength; choose."""
    (agents, eyes), given = validation_agents(options), options.given
    instruments = Instruments(options.model(), load_judge("validation_judge"), eyes, agents)
    everyone, found = np.arange(len(agents)), {}
    for strength in (0.0, *given.strengths):
        painting = Painting(instruments.model, given.folder / "pictures", strength)
        name = "full" if strength else "plain"
        images = painting.paint(agents, name, ROWS[name], everyone)
        found[strength] = instruments.measure(images, everyone, f"at {strength:g}")
    told = {strength: estimates(row, found[0.0]) for strength, row in found.items()}
    means = [{s: row[what].value for s, row in told.items() if s} for what in ("win_rate", "obedience")]
    chosen = choose(*means, told[0.0]["obedience"].value)
    result = {
        "strength": chosen,
        "strengths": {str(s): {what: e.to_json() for what, e in row.items()} for s, row in told.items()},
        "users": options.users,
        "checkpoint": options.checkpoint,
    }
    rows = [(f"{s:g}" if s else "0 (plain)", *(e.text() for e in row.values())) for s, row in told.items()]
    measured = (
        f"{options.users:,} validation agents over {options.told_seeds}, {PROMPTS * SEEDS} pictures each, of prompts "
        f"({', '.join(FOR_CHOOSING)}), posters and seeds that the test does not have, read by the validation judge. "
        f"{CLUSTERED}"
    )
    notes = [
        f"Chosen: {chosen:g}, which wins most among those that lose at most {MOST_LOST} of plain's obedience. The "
        "judge, by which the test is read, has no part in it."
    ]
    columns = ("strength", "wins over plain", "obedience", "PrefDisc score", "CLIP-Text (pocket CLIP)", "diversity")
    return Report("The adapter's strength", measured, columns, rows, result, draw(told, chosen), notes)


def estimates(row: Measured, plain: Measured) -> dict[str, Estimate]:
    """What is told of a strength, beside the same agents' plain pictures."""
    return {
        "win_rate": over_users(wins(row.utility, plain.utility)),
        "obedience": over_users(row.obeyed),
        "score": over_users(row.score),
        "clip_text": over_users(row.clip_text),
        "diversity_ratio": bootstrap(np.divide, row.diversity, plain.diversity, rng=np.random.default_rng(0)),
    }


def draw(told: dict[float, dict[str, Estimate]], chosen: float) -> Figure:
    """Wins and obedience over strength, with their intervals."""
    drawn, panels = style.figure(8, 3.2, 1, 2)
    for axes, name, title in zip(panels, ("win_rate", "obedience"), ("Wins over plain", "Obedience"), strict=True):
        values = [row[name] for row in told.values()]
        strengths = list(told)
        low, high = [e.low for e in values], [e.high for e in values]
        axes.fill_between(strengths, low, high, color=style.OURS, alpha=0.2)
        axes.plot(strengths, [e.value for e in values], color=style.OURS, marker="o", markersize=4)
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
