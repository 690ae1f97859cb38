"""Evaluates optimised noise for unseen agents by their true utility, compared with best-of-N.

    python -m train.evaluate.reno

See ReNO, section 4.2 of 001 and section 4.2.2 of 003 in docs/paper-index.md. All conditions start from the same prompts
and noise. The generator uses the shipped few-step LoRA, if there is one, with one step. Nothing is trained without
--ablations. Generation takes about an hour on one processor core and is cached.
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
from train.evaluate.reno import settings
from train.evaluate.reno.cached_generator import CachedGenerator
from train.evaluate.reno.conditions import ALL_CONDITIONS, DEFAULT_CONDITIONS
from train.evaluate.reno.contact_sheet import draw_sheet
from train.evaluate.reno.figure import plot
from train.evaluate.reno.published_scores import PublishedScores
from train.evaluate.reno.report import ConditionResult, figures, notes, tables, targets_met
from train.evaluate.reno.settings import ITERATIONS, Settings, parse_settings
from train.evaluate.reno.viper import POSTERS, Viper
from train.pocket.sampling import FewStepSampling

USERS = 100
"""Number of agents (our choice)."""
STRENGTH = 1.0
"""Strength of the adapter, as in the demo and the quickstart."""
FOLDER = Path("out/reno")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    add_generator_options(parser)
    settings.add_options(parser)
    parser.add_argument("--rows", nargs="+", choices=list(ALL_CONDITIONS), help="conditions besides plain")
    parser.add_argument("--ablations", action="store_true", help="also train and evaluate the ViPer-like model")
    parser.add_argument("--training-steps", type=int, default=STEPS, help="training steps of the ViPer-like model")
    parser.add_argument("--training-posters", type=int, default=POSTERS, help="its training posters; a multiple of 12")
    parser.add_argument("--rewards", type=Path, nargs="+", default=[], help="folders of published rewards")


def add_generator_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the generator and its cache."""
    parser.add_argument("--iterations", type=int, default=ITERATIONS, help="iterations of ReNO, and N of best-of-N")
    steps_help = f"sampling steps; by default 1 with a LoRA, {FewStepSampling.steps} without"
    parser.add_argument("--steps", type=int, help=steps_help)
    parser.add_argument("--cfg", type=float, default=FewStepSampling.cfg, help="guidance scale; 1 disables guidance")
    lora = parser.add_mutually_exclusive_group()
    lora.add_argument("--lora", type=Path, help="few-step LoRA of the pocket UNet; by default the shipped one")
    lora.add_argument("--no-lora", action="store_true", help="use the pocket generator without a LoRA")
    parser.add_argument("--strength", type=float, default=STRENGTH, help="strength of the adapter")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="folder for pictures and trainings")


def choose_lora(arguments: argparse.Namespace) -> Path | None:
    """Return the requested LoRA, or the shipped one if it exists."""
    shipped = FEW_STEP_LORA if FEW_STEP_LORA.is_file() else None
    return None if arguments.no_lora else arguments.lora or shipped


def create_generator(options: Options, settings: Settings, viper: Viper | None = None) -> CachedGenerator:
    """Create the generator that the options describe."""
    arguments, lora = options.arguments, choose_lora(options.arguments)
    default_steps = 1 if lora else FewStepSampling.steps
    steps = default_steps if arguments.steps is None else arguments.steps
    return CachedGenerator(
        options.model(),
        arguments.folder / "pictures",
        arguments.strength,
        settings,
        arguments.iterations,
        FewStepSampling(steps, arguments.cfg),
        lora,
        viper,
    )


def measure(options: Options) -> Report:
    """Generate and measure the requested conditions, and compare them with plain."""
    arguments, settings = options.arguments, parse_settings(options.arguments)
    settings.config(arguments.iterations)  # Refuse invalid settings before hours of work.
    requested = {"plain", *(arguments.rows or DEFAULT_CONDITIONS), *(["viper"] if arguments.ablations else [])}
    requested |= {ALL_CONDITIONS[name].baseline for name in requested}
    names = [name for name in ALL_CONDITIONS if name in requested]
    viper = None
    if any(ALL_CONDITIONS[name].needs_training for name in names):
        viper = Viper(arguments.folder / "viper", arguments.training_steps, arguments.training_posters)
    agents, features = unseen_agents(options)
    generator = create_generator(options, settings, viper)
    _log_cost(names, agents.seeds.size, generator)
    evaluator = PictureEvaluator(generator.model, load_judge(), features, agents)
    results = compare(evaluator, generator, names, PublishedScores(arguments.rewards))
    judge_accuracy = float((evaluator.predict_attributes(agents.liked_posters) == agents.poster_attributes).mean())
    result = {
        **figures(results),
        "agents": len(agents),
        "pictures_each": int(agents.seeds.shape[1]),
        "bars": targets_met(results),
        "judge_on_drawn": round(judge_accuracy, 5),
        "setting": settings.to_json(),
        "iterations": arguments.iterations,
        "sampling": vars(generator.sampling),
        "lora": generator.lora and generator.lora.name,
        "strength": arguments.strength,
        "checkpoint": options.checkpoint,
    }
    main_table, *extra_tables = tables(results)
    return Report(
        "Optimised noise",
        describe(options, generator),
        main_table.columns,
        main_table.rows,
        result,
        plot(results),
        notes(results, judge_accuracy),
        extra_tables,
        {"sheet": draw_sheet(agents, results, choose_agents(agents))},
    )


def compare(
    evaluator: PictureEvaluator, generator: CachedGenerator, names: list[str], published: PublishedScores | None = None
) -> dict[str, ConditionResult]:
    """Generate and measure the conditions.

    Args:
        evaluator: Measures the pictures.
        generator: Generates the pictures.
        names: Conditions, "plain" first, and every baseline before its conditions.
        published: Published rewards, or None.

    Returns:
        The results by condition.
    """
    agents, results = evaluator.agents, {}
    for name in names:
        condition = ALL_CONDITIONS[name]
        generated = generator.generate(agents, name, condition)
        measured = evaluator.measure(generated.images, np.arange(len(agents)), name)
        plain = results["plain"].measured if results else measured
        baseline = results[condition.baseline].measured if condition.baseline in results else measured
        scores = published.measure(generated.images, agents) if published else {}
        results[name] = ConditionResult(generated, measured, plain, baseline, scores)
    return results


def _log_cost(names: list[str], pictures: int, generator: CachedGenerator) -> None:
    """Print the number of pictures and the estimated time before generation starts."""
    minutes = generator.minutes([ALL_CONDITIONS[name] for name in names], pictures)
    message = f"{pictures:,} pictures in each of {len(names)} conditions: about {minutes:.0f} minutes on one core"
    print(f"{message}, less what is cached in {generator.folder}", file=sys.stderr)


def describe(options: Options, generator: CachedGenerator) -> str:
    """Describe what was measured, for the text above the table."""
    sampling, arguments = generator.sampling, options.arguments
    lora = f" with the LoRA {generator.lora.name}" if generator.lora else ""
    return (
        f"{options.users:,} unseen agents over {options.seeds_text}, with 8 pairs of test posters each. {PROMPTS} "
        f"prompts with {SEEDS} seeds each: {options.users * PROMPTS * SEEDS:,} pictures for each condition, with the "
        f"same prompts and initial noise. The pocket generator{lora}, Euler, {sampling.steps} steps, cfg "
        f"{sampling.cfg:g}. ReNO: {arguments.iterations} iterations, {generator.settings.text()}. Best-of-N: the best "
        f"of {arguments.iterations} noises by ReNO's score. Adapter strength {arguments.strength:g}. Win rate: share "
        "of pictures with higher true utility than plain's, ties count half. Subject recognised: share of pictures in "
        "which the judge predicts the prompted subject. Hacking: the condition's own score rose while true utility "
        f"fell. {CLUSTERED_NOTE}"
    )


def main(argv: list[str] | None = None) -> dict:
    """Run the command."""
    return run_command("reno", measure, USERS, argv, add_options, __doc__)
