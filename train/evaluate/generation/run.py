"""`python -m train.evaluate.generation`: what is painted for unseen agents, by their true utility and by PrefBench.

method.md section 3 (PrefGen's tables and swap analysis). Every row paints the same prompts from the same seeds. Without
--ablations nothing is trained; painting takes about a quarter of an hour on one processor core, and is kept.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from train.data.posters import ATTRIBUTES
from train.evaluate.command import CLUSTERED, Options, Report, command
from train.evaluate.generation.painting import Painting, minutes
from train.evaluate.generation.picture import draw
from train.evaluate.generation.report import (
    Found,
    bars,
    figures,
    find,
    notes,
    tables,
)
from train.evaluate.generation.rows import ABLATION, EVERY, ROWS
from train.evaluate.generation.sheet import LINES, Shown, draw_sheet
from train.evaluate.generation.variants import STEPS, Trainings
from train.evaluate.judge import load_judge
from train.evaluate.pictures.agents import PROMPTS, SEEDS, WORDINGS, Agents
from train.evaluate.pictures.drawn import unseen_agents
from train.evaluate.pictures.eyes import PublishedEyes
from train.evaluate.pictures.measures import cmmd
from train.evaluate.pictures.measuring import Instruments
from train.evaluate.pictures.sheets import choose
from train.pocket import align
from train.pocket.people import HELD_BACK

USERS, FEWER = 200, 100
"""Agents, and those of the rows that are there for a difference (default ours)."""
STRENGTH = 1.0
"""Of the adapter, as in the demo and the quickstart."""
FOLDER = Path("out/generation")


def add_options(parser: argparse.ArgumentParser) -> None:
    """What painting needs to be told."""
    parser.add_argument("--strength", type=float, default=STRENGTH, help="of the adapter, as the node's")
    parser.add_argument("--rows", nargs="+", choices=list(EVERY), help="paint these beside the plain ones")
    parser.add_argument("--ablations", action="store_true", help="train the ablation's adapters and paint their rows")
    parser.add_argument("--fewer", type=int, default=FEWER, help="agents of the swaps and the ablations")
    parser.add_argument("--steps", type=int, default=STEPS, help="training steps of every ablation's adapter")
    parser.add_argument("--align-steps", type=int, default=align.CONFIG.steps, help="and of its alignment")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where pictures and trainings are kept")
    parser.add_argument("--networks", type=Path, help="a CLIP in Hugging Face's layout, for the published CMMD")


def measure(options: Options) -> Report:
    """Paint every row that is asked for, look at it, compare it with plain."""
    given, (agents, eyes) = options.given, unseen_agents(options)
    instruments = Instruments(options.model(), load_judge(), eyes, agents)
    painting = Painting(instruments.model, given.folder / "pictures", given.strength)
    asked = given.rows or [*ROWS, *(ABLATION if given.ablations else ())]
    names = [name for name in EVERY if name == "plain" or name in asked]
    fewer = np.unique(np.linspace(0, len(agents) - 1, min(given.fewer, len(agents))).round().astype(int))
    _tell_cost(names, agents, len(fewer), painting)
    found, shown = compare(options, instruments, painting, names, fewer)
    drawn = float((instruments.read(agents.posters) == agents.known).mean())
    result = {
        **figures(found),
        "agents": len(agents),
        "pictures_each": int(agents.seeds.shape[1]),
        "bars": bars(found),
        "judge_on_drawn": round(drawn, 5),
        "strength": given.strength,
        "sampling": vars(painting.sampling),
        "checkpoint": options.checkpoint,
    }
    first, *more = tables(found)
    sheets = {"sheet": draw_sheet(agents, shown, choose(agents))}
    text = describe(options, painting, len(fewer), [name for name in names if name in ABLATION])
    told = notes(found, drawn, agents)
    return Report("Personalised pictures", text, first.columns, first.rows, result, draw(found), told, more, sheets)


def compare(
    options: Options, instruments: Instruments, painting: Painting, names: list[str], fewer: np.ndarray
) -> tuple[dict[str, Found], dict[str, Shown]]:
    """Every row beside plain, which is the first, and the pictures of those that the sheet shows. fewer: the agents
    that every row has, by index."""
    given, eyes, agents = options.given, instruments.eyes, instruments.agents
    trainings = Trainings(given.folder / "variants", given.steps, given.align_steps)
    published = PublishedEyes(given.networks) if given.networks else None
    posters = agents.posters[fewer].flatten(0, 1)
    reference, real = eyes.embed(posters), published and published.embed(posters)
    found, shown, plain = {}, {}, None
    for name in names:
        row = EVERY[name]
        rows = fewer if row.fewer else np.arange(len(agents))
        trained = trainings.model(row.adapter) if row.adapter else None
        images = painting.paint(agents, name, row, rows, trained)
        measured = instruments.measure(images, rows, name)
        plain = plain or measured
        common = np.flatnonzero(np.isin(rows, fewer))
        rng = np.random.default_rng(options.seeds)
        found[name] = find(measured, plain.some(rows), rows, reference, common, rng)
        if published:
            distance = cmmd(published.embed(images[common].flatten(0, 1)), real)
            found[name] = replace(found[name], published=distance)
        if name in LINES:
            shown[name] = Shown(images, measured.utility)
    return found, shown


def _tell_cost(names: list[str], agents: Agents, fewer: int, painting: Painting) -> None:
    """Before it begins: how many pictures, and about how long."""
    each = agents.seeds.shape[1]
    pictures = sum(each * (fewer if EVERY[name].fewer else len(agents)) for name in names)
    took = minutes(pictures, painting.sampling)
    told = f"{pictures:,} pictures in {len(names)} rows: about {took:.0f} minutes on one processor core, less what is"
    print(f"{told} kept in {painting.folder}", file=sys.stderr)


def describe(options: Options, painting: Painting, fewer: int, trained: list[str]) -> str:
    """What was measured, for the table's text."""
    subjects = ", ".join(ATTRIBUTES["subject"][name] for name in HELD_BACK)
    sampling, given = painting.sampling, options.given
    text = (
        f"{options.users:,} unseen agents over {options.told_seeds}, 8 pairs of test posters each, {PROMPTS} prompts "
        f"of {len(WORDINGS) * len(HELD_BACK)} ({len(WORDINGS)} wordings of {subjects}: in no history, and in no "
        f"training of the adapter) at {SEEDS} seeds each: {options.users * PROMPTS * SEEDS:,} pictures a row, and the "
        f"same prompts and seeds in every row. The pocket generator, Euler, {sampling.steps} steps, cfg "
        f"{sampling.cfg:g}, adapter strength {given.strength:g}. *Another agent's* embedding is that of an agent of "
        f"another group. Swaps and ablations are of {fewer:,} of the agents. Wins: the share of the pictures of higher "
        "true utility than plain's, ties half; obedience: the judge reads the named subject; diversity: the mean "
        f"distance between seeds as a share of plain's. {CLUSTERED}"
    )
    if trained:
        text += (
            f" Ablations: an alignment of {given.align_steps:,} and an adapter of {given.steps:,} steps each, trained "
            "for this table alone; compare them with each other."
        )
    return text


def main(argv: list[str] | None = None) -> dict:
    """The command."""
    return command("generation", measure, USERS, argv, add_options, __doc__)
