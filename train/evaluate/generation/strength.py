"""Chooses the strength of the adapter.

    python -m train.evaluate.generation.strength

Agents, posters, prompts and seeds differ from the test's, and the validation judge replaces the judge.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from train.evaluate import plotting
from train.evaluate.command import CLUSTERED_NOTE, Options, Report, run_command
from train.evaluate.generation.cached_generator import CachedGenerator
from train.evaluate.generation.conditions import CONDITIONS
from train.evaluate.generation.report import MAX_LOSS
from train.evaluate.generation.run import FOLDER
from train.evaluate.judge import load_judge
from train.evaluate.pictures.agent_sampling import validation_agents
from train.evaluate.pictures.agents import PROMPTS, SEEDS
from train.evaluate.pictures.evaluator import PictureEvaluator, PictureMetrics
from train.evaluate.pictures.metrics import wins
from train.evaluate.statistics import Estimate, bootstrap, mean_over_users
from train.pocket.people import VALIDATION_SUBJECTS

USERS, STRENGTHS = 96, (0.5, 0.75, 1.0, 1.25, 1.5, 2.0)


def choose_strength(wins: dict[float, float], obedience: dict[float, float], plain: float) -> float:
    """Choose the strength with the highest win rate among those that lose at most `MAX_LOSS` of prompt adherence.

    The limit is needed because strong adapters can raise the win rate by ignoring the prompt. If no strength keeps it,
    the smallest is chosen.

    Args:
        wins: Win rate over plain by strength.
        obedience: Share of pictures with the prompted subject, by strength.
        plain: Share of plain pictures with the prompted subject.
    """
    allowed = [strength for strength in wins if plain - obedience[strength] <= MAX_LOSS]
    return max(allowed, key=wins.__getitem__) if allowed else min(wins)


def measure(options: Options) -> Report:
    """Generate and measure plain pictures and every strength, and choose one."""
    (agents, features), arguments = validation_agents(options), options.arguments
    evaluator = PictureEvaluator(options.model(), load_judge("validation_judge"), features, agents)
    all_agents, measured = np.arange(len(agents)), {}
    for strength in (0.0, *arguments.strengths):
        generator = CachedGenerator(evaluator.model, arguments.folder / "pictures", strength)
        name = "full" if strength else "plain"
        images = generator.generate(agents, name, CONDITIONS[name], all_agents)
        measured[strength] = evaluator.measure(images, all_agents, f"at {strength:g}")
    results = {strength: estimates(row, measured[0.0]) for strength, row in measured.items()}
    means = [{s: row[what].value for s, row in results.items() if s} for what in ("win_rate", "obedience")]
    chosen = choose_strength(*means, results[0.0]["obedience"].value)
    result = {
        "strength": chosen,
        "strengths": {str(s): {what: e.to_json() for what, e in row.items()} for s, row in results.items()},
        "users": options.users,
        "checkpoint": options.checkpoint,
    }
    rows = [(f"{s:g}" if s else "0 (plain)", *(e.text() for e in row.values())) for s, row in results.items()]
    description = (
        f"{options.users:,} validation agents over {options.seeds_text}, {PROMPTS * SEEDS} pictures each. Prompts "
        f"({', '.join(VALIDATION_SUBJECTS)}), posters and seeds are not used in the test, and the validation judge is "
        f"used. {CLUSTERED_NOTE}"
    )
    notes = [
        f"Chosen: {chosen:g}, the highest win rate among the strengths that lose at most {MAX_LOSS} of plain's prompt "
        "adherence. The judge of the test is not involved."
    ]
    columns = (
        "strength",
        "win rate over plain",
        "subject recognised",
        "PrefDisc score",
        "CLIP-Text (pocket CLIP)",
        "diversity",
    )
    return Report("The adapter's strength", description, columns, rows, result, plot(results, chosen), notes)


def estimates(row: PictureMetrics, plain: PictureMetrics) -> dict[str, Estimate]:
    """Estimate the metrics of one strength, compared with plain pictures of the same agents."""
    return {
        "win_rate": mean_over_users(wins(row.utility, plain.utility)),
        "obedience": mean_over_users(row.subject_correct),
        "score": mean_over_users(row.score),
        "clip_text": mean_over_users(row.clip_text),
        "diversity_ratio": bootstrap(np.divide, row.diversity, plain.diversity, rng=np.random.default_rng(0)),
    }


def plot(results: dict[float, dict[str, Estimate]], chosen: float) -> Figure:
    """Plot the win rate and the share with the prompted subject by strength, with intervals."""
    figure, panels = plotting.new_figure(8, 3.2, 1, 2)
    for axes, name, title in zip(
        panels, ("win_rate", "obedience"), ("Win rate over plain", "Prompted subject recognised"), strict=True
    ):
        values = [row[name] for row in results.values()]
        strengths = list(results)
        low, high = [e.low for e in values], [e.high for e in values]
        axes.fill_between(strengths, low, high, color=plotting.OURS, alpha=0.2)
        axes.plot(strengths, [e.value for e in values], color=plotting.OURS, marker="o", markersize=4)
        axes.axvline(chosen, color=plotting.LIMIT, linewidth=1, linestyle=(0, (4, 3)))
        plotting.clean_axes(axes).set_title(title, fontsize=10, loc="left", color=plotting.INK)
    plotting.set_heading(
        figure, f"Strength {chosen:g}", "By strength of the adapter, with 95 % intervals. Green: chosen strength."
    )
    return figure


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the strength command."""
    parser.add_argument("--strengths", type=float, nargs="+", default=STRENGTHS, help="strengths to try, above 0")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="folder for pictures")


def main(argv: list[str] | None = None) -> dict:
    """Run the command."""
    return run_command("generation.strength", measure, USERS, argv, add_options, __doc__)


if __name__ == "__main__":
    main()
