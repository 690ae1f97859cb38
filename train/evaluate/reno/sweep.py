"""Chooses the settings of ReNO on validation agents with the validation judge.

    python -m train.evaluate.reno.sweep

Agents, posters, prompts, noise and judge differ from the test's.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import replace
from itertools import product

from matplotlib.figure import Figure
from tqdm import tqdm

from train.evaluate import plotting
from train.evaluate.command import CLUSTERED_NOTE, Options, Report, run_command
from train.evaluate.judge import load_judge
from train.evaluate.pictures.agent_sampling import validation_agents
from train.evaluate.pictures.agents import PROMPTS, SEEDS
from train.evaluate.pictures.evaluator import PictureEvaluator
from train.evaluate.reno.report import MAX_HACKING, MAX_LOSS, MIN_WIN_RATE, ConditionResult
from train.evaluate.reno.run import add_generator_options, compare, create_generator
from train.evaluate.reno.settings import Settings
from train.evaluate.statistics import Estimate, paired_difference

USERS = 12
LEARNING_RATES, CLIP_WEIGHTS, OBJECTIVES, VIEWS, INITIAL_NOISES = (
    (2.0, 5.0),
    (0.5, 1.0),
    ("score", "margin"),
    (4,),
    (1, 15),
)
SUBJECTS = ("sun", "moon", "house")
"""Subjects of the prompts, none of which the test uses. The generator draws them about as reliably as the test's: with
easier ones (94 % recognised instead of 89 %) settings seemed to lose less prompt adherence than on the test."""
MIN_STDERR = 1e-9


def estimates_with_loss(result: ConditionResult) -> dict[str, Estimate]:
    """Return the estimates of a condition, and its loss of prompt adherence compared with plain ("lost"), paired."""
    lost = paired_difference(result.plain.subject_correct, result.measured.subject_correct)
    return result.estimates | {"lost": lost}


def margin(estimates: Mapping[str, Estimate]) -> float:
    """Return the smallest distance to a target in standard errors. Targets are met where it is positive."""
    distances = (
        (estimates["win_rate"].value - MIN_WIN_RATE, estimates["win_rate"].stderr),
        (MAX_HACKING - estimates["hacking_fraction"].value, estimates["hacking_fraction"].stderr),
        (MAX_LOSS - estimates["lost"].value, estimates["lost"].stderr),
    )
    return min(distance / max(stderr, MIN_STDERR) for distance, stderr in distances)


def measure(options: Options) -> Report:
    """Generate and measure pictures with all settings, and choose the settings with the largest margin."""
    arguments = options.arguments
    candidates = [
        Settings(rate, arguments.regulariser, clip=clip, objective=objective, views=views, num_initial_noises=noises)
        for noises, rate, clip, objective, views in product(
            arguments.starts, arguments.learning_rates, arguments.clips, arguments.readings, arguments.views
        )
    ]
    for settings in candidates:
        settings.config(arguments.iterations)  # Refuse invalid settings before hours of work.
    agents, features = validation_agents(options, SUBJECTS)
    generator = create_generator(options, candidates[0])
    evaluator = PictureEvaluator(generator.model, load_judge("validation_judge"), features, agents)
    estimates: dict[Settings, dict[str, Estimate]] = {}
    for settings in tqdm(candidates, desc="settings", unit="settings"):
        results = compare(evaluator, replace(generator, settings=settings), ["plain", "reno"])
        estimates[settings], plain = estimates_with_loss(results["reno"]), results["plain"]
    obedience = plain.estimates["obedience"]
    chosen = max(estimates, key=lambda settings: margin(estimates[settings]))
    metrics = ("win_rate", "hacking_fraction", "lost", "score")
    result = {
        "setting": chosen.to_json(),
        "settings": [
            settings.to_json() | {name: row[name].to_json() for name in metrics} | {"margin": round(margin(row), 3)}
            for settings, row in estimates.items()
        ],
        "obedience_plain": obedience.to_json(),
        "holds": margin(estimates[chosen]) >= 0,
        "iterations": arguments.iterations,
        "users": options.users,
        "checkpoint": options.checkpoint,
    }
    rows = [
        (settings.text(), *(row[name].text() for name in metrics), f"{margin(row):+.2f}")
        for settings, row in estimates.items()
    ]
    text = (
        f"{options.users:,} validation agents over {options.seeds_text}, with {PROMPTS * SEEDS} pictures each. Prompts "
        f"({', '.join(SUBJECTS)}), posters, noise and judge differ from the test's. {arguments.iterations} iterations. "
        f"Prompted subject recognised in plain pictures: {obedience.text()}. {CLUSTERED_NOTE}"
    )
    notes = [
        f"Chosen: {chosen.text()}. It has the largest margin, which is the smallest distance to a target in standard "
        f"errors: win rate {MIN_WIN_RATE}, hacking {MAX_HACKING}, loss of subject recognition {MAX_LOSS}."
    ]
    columns = ("settings", "wins over plain", "hacking", "subject lost", "PrefDisc score", "margin, standard errors")
    return Report("ReNO's settings", text, columns, rows, result, plot(estimates, chosen), notes)


def plot(estimates: Mapping[Settings, Mapping[str, Estimate]], chosen: Settings) -> Figure:
    """Plot the win rate of all settings over hacking, with the chosen settings in colour."""
    figure, axes = plotting.new_figure(7, 4.6)
    for settings, row in estimates.items():
        win, hacking = row["win_rate"], row["hacking_fraction"]
        colour = plotting.OURS if settings == chosen else plotting.QUIET
        axes.plot([hacking.low, hacking.high], [win.value] * 2, color=colour, alpha=0.3)
        axes.plot([hacking.value] * 2, [win.low, win.high], color=colour, alpha=0.3)
        axes.scatter([hacking.value], [win.value], color=colour, s=36, linewidths=0, zorder=3)
        label = (
            f"{settings.num_initial_noises}, {settings.learning_rate:g}, {settings.objective}, CLIP {settings.clip:g}"
        )
        axes.annotate(label, (hacking.value, win.value), (5, 4), textcoords="offset points", fontsize=7.5)
    axes.axvline(MAX_HACKING, color=plotting.LIMIT, linewidth=1, linestyle=(0, (4, 3)))
    axes.set_xlabel("hacking: score rose, true utility fell", fontsize=9)
    axes.set_ylabel("wins over plain", fontsize=9)
    plotting.clean_axes(axes)
    plotting.set_heading(
        figure,
        f"Chosen: {chosen.text()}",
        "Labels: initial noises, learning rate, objective, weight of CLIP. Lines: 95 % intervals.",
    )
    return figure


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    add_generator_options(parser)
    parser.add_argument("--learning-rates", type=float, nargs="+", default=LEARNING_RATES, help="learning rates to try")
    parser.add_argument(
        "--clips", type=float, nargs="+", default=CLIP_WEIGHTS, help="weights of the pocket CLIP to try"
    )
    parser.add_argument("--readings", nargs="+", choices=OBJECTIVES, default=OBJECTIVES, help="objectives to try")
    parser.add_argument(
        "--views",
        type=int,
        nargs="+",
        default=VIEWS,
        help="numbers of augmented views to try; 0 uses the picture itself",
    )
    parser.add_argument(
        "--starts", type=int, nargs="+", default=INITIAL_NOISES, help="numbers of initial noises to try"
    )
    parser.add_argument(
        "--regulariser", type=float, default=Settings.regulariser, help="weight of the norm regulariser"
    )


def main(argv: list[str] | None = None) -> dict:
    """Run the command."""
    return run_command("reno.sweep", measure, USERS, argv, add_options, __doc__)


if __name__ == "__main__":
    main()
