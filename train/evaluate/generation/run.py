"""Measures pictures for unseen agents by true utility and PrefBench metrics.

    python -m train.evaluate.generation

Paper index section 3 (PrefGen's tables and swap analysis). All conditions use the same prompts and seeds. Nothing is
trained without --ablations. Generation takes about a quarter of an hour on one processor core; pictures are cached.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from train.data.posters import ATTRIBUTES
from train.evaluate.command import CLUSTERED_NOTE, Options, Report, run_command
from train.evaluate.generation.adapter_variants import STEPS, AdapterTrainings
from train.evaluate.generation.cached_generator import CachedGenerator, minutes
from train.evaluate.generation.conditions import ABLATIONS, ALL_CONDITIONS, CONDITIONS
from train.evaluate.generation.contact_sheet import SHEET_ROWS, SheetRow, draw_sheet
from train.evaluate.generation.figure import plot
from train.evaluate.generation.report import (
    ConditionResult,
    compare_with_plain,
    figures,
    notes,
    tables,
    targets_met,
)
from train.evaluate.judge import load_judge
from train.evaluate.pictures.agent_sampling import unseen_agents
from train.evaluate.pictures.agents import PROMPTS, SEEDS, WORDINGS, Agents
from train.evaluate.pictures.contact_sheet import choose_agents
from train.evaluate.pictures.evaluator import PictureEvaluator
from train.evaluate.pictures.image_features import PublishedClip
from train.evaluate.pictures.metrics import cmmd
from train.pocket import align
from train.pocket.people import HELD_OUT_SUBJECTS

USERS, FEWER = 200, 100
"""Agents of the main conditions, and of the conditions marked `fewer` (our choice)."""
STRENGTH = 1.0
"""Strength of the adapter, as in the demo and the quickstart."""
FOLDER = Path("out/generation")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the generation command."""
    parser.add_argument("--strength", type=float, default=STRENGTH, help="strength of the adapter, as in the node")
    parser.add_argument(
        "--rows", nargs="+", choices=list(ALL_CONDITIONS), help="conditions to generate in addition to plain"
    )
    parser.add_argument("--ablations", action="store_true", help="also train and measure the adapters of the ablation")
    parser.add_argument("--fewer", type=int, default=FEWER, help="number of agents for swaps and ablations")
    parser.add_argument("--steps", type=int, default=STEPS, help="training steps of each ablation adapter")
    parser.add_argument(
        "--align-steps", type=int, default=align.CONFIG.steps, help="training steps of each ablation alignment"
    )
    parser.add_argument("--folder", type=Path, default=FOLDER, help="folder for pictures and trainings")
    parser.add_argument("--networks", type=Path, help="folder of a CLIP in Hugging Face layout, for the published CMMD")


def measure(options: Options) -> Report:
    """Generate and measure the requested conditions, and compare them with plain."""
    arguments, (agents, features) = options.arguments, unseen_agents(options)
    evaluator = PictureEvaluator(options.model(), load_judge(), features, agents)
    generator = CachedGenerator(evaluator.model, arguments.folder / "pictures", arguments.strength)
    requested = arguments.rows or [*CONDITIONS, *(ABLATIONS if arguments.ablations else ())]
    names = [name for name in ALL_CONDITIONS if name == "plain" or name in requested]
    fewer = np.unique(np.linspace(0, len(agents) - 1, min(arguments.fewer, len(agents))).round().astype(int))
    _log_cost(names, agents, len(fewer), generator)
    results, sheet_rows = compare(options, evaluator, generator, names, fewer)
    judge_accuracy = float((evaluator.predict_attributes(agents.liked_posters) == agents.poster_attributes).mean())
    result = {
        **figures(results),
        "agents": len(agents),
        "pictures_each": int(agents.seeds.shape[1]),
        "bars": targets_met(results),
        "judge_on_drawn": round(judge_accuracy, 5),
        "strength": arguments.strength,
        "sampling": vars(generator.sampling),
        "checkpoint": options.checkpoint,
    }
    main_table, *extra_tables = tables(results)
    sheets = {"sheet": draw_sheet(agents, sheet_rows, choose_agents(agents))}
    text = describe(options, generator, len(fewer), [name for name in names if name in ABLATIONS])
    sentences = notes(results, judge_accuracy, agents)
    return Report(
        "Personalised pictures",
        text,
        main_table.columns,
        main_table.rows,
        result,
        plot(results),
        sentences,
        extra_tables,
        sheets,
    )


def compare(
    options: Options, evaluator: PictureEvaluator, generator: CachedGenerator, names: list[str], fewer: np.ndarray
) -> tuple[dict[str, ConditionResult], dict[str, SheetRow]]:
    """Generate and measure the conditions, plain first.

    Args:
        options: Options of the command.
        evaluator: Measures the pictures.
        generator: Generates the pictures.
        names: Conditions, "plain" first.
        fewer: Indices of the agents that all conditions share.

    Returns:
        The results by condition, and the pictures of the conditions on the contact sheet.
    """
    arguments, features, agents = options.arguments, evaluator.features, evaluator.agents
    trainings = AdapterTrainings(arguments.folder / "variants", arguments.steps, arguments.align_steps)
    published = PublishedClip(arguments.networks) if arguments.networks else None
    posters = agents.liked_posters[fewer].flatten(0, 1)
    reference, published_reference = features.embed(posters), published and published.embed(posters)
    results, sheet_rows, plain = {}, {}, None
    for name in names:
        condition = ALL_CONDITIONS[name]
        rows = fewer if condition.fewer else np.arange(len(agents))
        trained = trainings.model(condition.adapter) if condition.adapter else None
        images = generator.generate(agents, name, condition, rows, trained)
        measured = evaluator.measure(images, rows, name)
        plain = plain or measured
        common = np.flatnonzero(np.isin(rows, fewer))
        rng = np.random.default_rng(options.seeds)
        results[name] = compare_with_plain(measured, plain.select(rows), rows, reference, common, rng)
        if published:
            distance = cmmd(published.embed(images[common].flatten(0, 1)), published_reference)
            results[name] = replace(results[name], published=distance)
        if name in SHEET_ROWS:
            sheet_rows[name] = SheetRow(images, measured.utility)
    return results, sheet_rows


def _log_cost(names: list[str], agents: Agents, fewer: int, generator: CachedGenerator) -> None:
    """Print the number of pictures and the estimated time before generation starts."""
    each = agents.seeds.shape[1]
    pictures = sum(each * (fewer if ALL_CONDITIONS[name].fewer else len(agents)) for name in names)
    estimate = minutes(pictures, generator.sampling)
    message = f"{pictures:,} pictures in {len(names)} conditions: about {estimate:.0f} minutes on one processor core"
    print(f"{message}, less what is cached in {generator.folder}", file=sys.stderr)


def describe(options: Options, generator: CachedGenerator, fewer: int, trained: list[str]) -> str:
    """Describe what was measured, for the text above the table."""
    subjects = ", ".join(ATTRIBUTES["subject"][name] for name in HELD_OUT_SUBJECTS)
    sampling, arguments = generator.sampling, options.arguments
    text = (
        f"{options.users:,} unseen agents over {options.seeds_text}, with 8 pairs of test posters each. {PROMPTS} of "
        f"{len(WORDINGS) * len(HELD_OUT_SUBJECTS)} prompts each ({len(WORDINGS)} wordings of {subjects}, which occur "
        f"in no history and in no training of the adapter), with {SEEDS} seeds each: "
        f"{options.users * PROMPTS * SEEDS:,} pictures for each condition, with the same prompts and seeds. "
        "The pocket generator, Euler, "
        f"{sampling.steps} steps, cfg {sampling.cfg:g}, adapter strength {arguments.strength:g}. *Another agent* is an "
        f"agent of another group. Swaps and ablations use {fewer:,} of the agents. Win rate: share of pictures with "
        "higher true utility than plain's, ties count half. Subject recognised: share of pictures in which the judge "
        f"predicts the prompted subject. Diversity: mean distance between seeds, as a share of plain's. "
        f"{CLUSTERED_NOTE}"
    )
    if trained:
        text += (
            f" Ablations: an alignment of {arguments.align_steps:,} and an adapter of {arguments.steps:,} steps each, "
            "trained only for this table; compare them only with each other."
        )
    return text


def main(argv: list[str] | None = None) -> dict:
    """Run the command."""
    return run_command("generation", measure, USERS, argv, add_options, __doc__)
