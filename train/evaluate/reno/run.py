"""`python -m train.evaluate.reno`: optimised noise for unseen agents, by their true utility, beside best-of-N.

method.md section 4 (ReNO; 001 section 4.2, 003 section 4.2.2). Every row begins with the same prompts and noise.
The generator has the shipped few-step LoRA, where there is one, and paints in one step. Without --ablations nothing is
trained; painting takes the better part of an hour on one processor core, and is kept.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from prefgen.pocket.shapes import FEW_STEP_LORA
from train.evaluate.command import CLUSTERED_NOTE, Options, Report, run_command
from train.evaluate.judge import load_judge
from train.evaluate.pictures.agent_sampling import unseen_agents
from train.evaluate.pictures.agents import PROMPTS, SEEDS
from train.evaluate.pictures.contact_sheet import choose_agents
from train.evaluate.pictures.evaluator import PictureEvaluator
from train.evaluate.prefdisc_variants import STEPS
from train.evaluate.reno import setting
from train.evaluate.reno.painting import Painting
from train.evaluate.reno.picture import draw
from train.evaluate.reno.published import PublishedScores
from train.evaluate.reno.report import Found, bars, figures, notes, tables
from train.evaluate.reno.rows import EVERY, ROWS
from train.evaluate.reno.setting import ITERATIONS, Setting, setting_of
from train.evaluate.reno.sheet import draw_sheet
from train.evaluate.reno.viper import POSTERS, Viper
from train.pocket.sampling import FewStepSampling

USERS = 100
"""Agents (default ours)."""
STRENGTH = 1.0
"""Of the adapter, as in the demo and the quickstart."""
FOLDER = Path("out/reno")


def add_options(parser: argparse.ArgumentParser) -> None:
    """What optimising needs to be told."""
    add_generator(parser)
    setting.add_options(parser)
    parser.add_argument("--rows", nargs="+", choices=list(EVERY), help="paint these beside the plain ones")
    parser.add_argument("--ablations", action="store_true", help="train the ViPer-like model and paint its row")
    parser.add_argument("--training-steps", type=int, default=STEPS, help="of the ViPer-like model")
    parser.add_argument("--training-posters", type=int, default=POSTERS, help="what it sees; a multiple of 12")
    parser.add_argument("--rewards", type=Path, nargs="+", default=[], help="folders that hold published rewards")


def add_generator(parser: argparse.ArgumentParser) -> None:
    """The generator, how often it runs, and where pictures are kept."""
    parser.add_argument("--iterations", type=int, default=ITERATIONS, help="of ReNO, and the N of best-of-N")
    parser.add_argument(
        "--steps", type=int, help=f"of the sampler, for every picture; 1 with a LoRA, {FewStepSampling.steps} without"
    )
    parser.add_argument("--cfg", type=float, default=FewStepSampling.cfg, help="guidance; 1 is none")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--lora", type=Path, help="a few-step LoRA on the pocket UNet; the shipped one if not given")
    which.add_argument("--no-lora", action="store_true", help="the pocket generator as it is")
    parser.add_argument("--strength", type=float, default=STRENGTH, help="of the adapter, as the node's")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where pictures and trainings are kept")


def lora_of(given: argparse.Namespace) -> Path | None:
    """The LoRA that was asked for, or the shipped one where there is one."""
    shipped = FEW_STEP_LORA if FEW_STEP_LORA.is_file() else None
    return None if given.no_lora else given.lora or shipped


def painting_of(options: Options, how: Setting, viper: Viper | None = None) -> Painting:
    """What paints, as asked for."""
    given, lora = options.arguments, lora_of(options.arguments)
    usual = 1 if lora else FewStepSampling.steps
    steps = usual if given.steps is None else given.steps
    return Painting(
        options.model(),
        given.folder / "pictures",
        given.strength,
        how,
        given.iterations,
        FewStepSampling(steps, given.cfg),
        lora,
        viper,
    )


def measure(options: Options) -> Report:
    """Paint every row that is asked for, look at it, compare it with plain."""
    given, how = options.arguments, setting_of(options.arguments)
    how.config(given.iterations)  # what is wrong with it is said before hours of work
    asked = {"plain", *(given.rows or ROWS), *(["viper"] if given.ablations else [])}
    # A row is measured against the one that it starts from.
    asked |= {EVERY[name].base for name in asked}
    names = [name for name in EVERY if name in asked]
    trains = any(EVERY[name].trained for name in names)
    viper = Viper(given.folder / "viper", given.training_steps, given.training_posters) if trains else None
    agents, features = unseen_agents(options)
    painting = painting_of(options, how, viper)
    _tell_cost(names, agents.seeds.size, painting)
    evaluator, published = (
        PictureEvaluator(painting.model, load_judge(), features, agents),
        PublishedScores(given.rewards),
    )
    found = compare(evaluator, painting, names, published)
    drawn = float((evaluator.predict_attributes(agents.liked_posters) == agents.poster_attributes).mean())
    result = {
        **figures(found),
        "agents": len(agents),
        "pictures_each": int(agents.seeds.shape[1]),
        "bars": bars(found),
        "judge_on_drawn": round(drawn, 5),
        "setting": how.told(),
        "iterations": given.iterations,
        "sampling": vars(painting.sampling),
        "lora": painting.lora and painting.lora.name,
        "strength": given.strength,
        "checkpoint": options.checkpoint,
    }
    first, *more = tables(found)
    sheets = {"sheet": draw_sheet(agents, found, choose_agents(agents))}
    text = describe(options, painting)
    picture, told = draw(found), notes(found, drawn)
    return Report("Optimised noise", text, first.columns, first.rows, result, picture, told, more, sheets)


def compare(
    evaluator: PictureEvaluator, painting: Painting, names: list[str], published: PublishedScores | None = None
) -> dict[str, Found]:
    """Every row beside plain and what it starts from, which are among `names` and come before it."""
    agents, found = evaluator.agents, {}
    for name in names:
        row = EVERY[name]
        painted = painting.paint(agents, name, row)
        measured = evaluator.measure(painted.images, np.arange(len(agents)), name)
        plain = found["plain"].measured if found else measured
        base = found[row.base].measured if row.base in found else measured
        scores = published.measure(painted.images, agents) if published else {}
        found[name] = Found(painted, measured, plain, base, scores)
    return found


def _tell_cost(names: list[str], pictures: int, painting: Painting) -> None:
    """Before it begins: how many pictures, and about how long."""
    took = painting.minutes([EVERY[name] for name in names], pictures)
    told = f"{pictures:,} pictures in each of {len(names)} rows: about {took:.0f} minutes on one processor core"
    print(f"{told}, less what is kept in {painting.folder}", file=sys.stderr)


def describe(options: Options, painting: Painting) -> str:
    """What was measured, for the table's text."""
    sampling, given = painting.sampling, options.arguments
    told = "The pocket generator"
    generator = f"{told} with the LoRA {painting.lora.name}" if painting.lora else told
    return (
        f"{options.users:,} unseen agents over {options.seeds_text}, 8 pairs of test posters each, {PROMPTS} prompts "
        f"at {SEEDS} seeds each: {options.users * PROMPTS * SEEDS:,} pictures a row, which begin with the same noise "
        f"in every row. {generator}, Euler, {sampling.steps} steps, cfg {sampling.cfg:g}. ReNO: {given.iterations} "
        f"iterations, {painting.setting.text()}; best-of-N: the best of {given.iterations} noises by ReNO's score. "
        f"Adapter strength {given.strength:g}. Wins: the share of the pictures of higher true utility than plain's, "
        "ties half; obedience: the judge reads the named subject; hacking: the row's own score rose while true utility "
        f"fell. {CLUSTERED_NOTE}"
    )


def main(argv: list[str] | None = None) -> dict:
    """The command."""
    return run_command("reno", measure, USERS, argv, add_options, __doc__)
