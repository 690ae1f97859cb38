"""`python -m train.evaluate.reno.sweep`: which setting of ReNO, on validation agents and by the validation judge.

Other agents, posters, prompts and noise than the test's; the test's judge has no part in it.
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
from train.evaluate.reno.report import LEAST_WINS, MOST_HACKED, MOST_LOST, Found
from train.evaluate.reno.run import add_generator, compare, painting_of
from train.evaluate.reno.setting import Setting
from train.evaluate.statistics import Estimate, paired_difference

USERS = 12
RATES, CLIPS, READINGS, VIEWS, STARTS = (2.0, 5.0), (0.5, 1.0), ("score", "margin"), (4,), (1, 15)
THINGS = ("sun", "moon", "house")
"""What the prompts name. ReNO trains nothing, so any thing but the test's will do; of the others the generator paints
these about as surely as the test's. With surer ones (.94 read, not .89) settings seemed to lose less than they did."""
_EXACT = 1e-9


def told_of(row: Found) -> dict[str, Estimate]:
    """What is known of a setting's row: its estimates, and the obedience that it `lost` of plain's, paired."""
    return row.told | {"lost": paired_difference(row.plain.subject_correct, row.measured.subject_correct)}


def margin(told: Mapping[str, Estimate]) -> float:
    """How surely a setting holds every bar: of wins, hacking and lost obedience, by how many standard errors the least
    sure is on the right side of its bar."""
    above = (
        (told["win_rate"].value - LEAST_WINS, told["win_rate"].stderr),
        (MOST_HACKED - told["hacking_fraction"].value, told["hacking_fraction"].stderr),
        (MOST_LOST - told["lost"].value, told["lost"].stderr),
    )
    return min(by / max(stderr, _EXACT) for by, stderr in above)


def measure(options: Options) -> Report:
    """Paint plain and every setting; choose."""
    given = options.arguments
    settings = [
        Setting(rate, given.regulariser, clip=clip, by=by, views=views, starts=starts)
        for starts, rate, clip, by, views in product(
            given.starts, given.learning_rates, given.clips, given.readings, given.views
        )
    ]
    for setting in settings:
        setting.config(given.iterations)  # what is wrong with one is said before hours of work
    agents, features = validation_agents(options, THINGS)
    painting = painting_of(options, settings[0])
    evaluator = PictureEvaluator(painting.model, load_judge("validation_judge"), features, agents)
    told: dict[Setting, dict[str, Estimate]] = {}
    for setting in tqdm(settings, desc="settings", unit="settings"):
        both = compare(evaluator, replace(painting, setting=setting), ["plain", "reno"])
        told[setting], plain = told_of(both["reno"]), both["plain"]
    obedience = plain.told["obedience"]
    chosen = max(told, key=lambda setting: margin(told[setting]))
    shown = ("win_rate", "hacking_fraction", "lost", "score")
    result = {
        "setting": chosen.told(),
        "settings": [
            s.told() | {what: row[what].to_json() for what in shown} | {"margin": round(margin(row), 3)}
            for s, row in told.items()
        ],
        "obedience_plain": obedience.to_json(),
        "holds": margin(told[chosen]) >= 0,
        "iterations": given.iterations,
        "users": options.users,
        "checkpoint": options.checkpoint,
    }
    rows = [
        (setting.text(), *(row[what].text() for what in shown), f"{margin(row):+.2f}") for setting, row in told.items()
    ]
    measured = (
        f"{options.users:,} validation agents over {options.seeds_text}, {PROMPTS * SEEDS} pictures each, of prompts "
        f"({', '.join(THINGS)}), posters and noise that the test does not have, read by the validation judge; "
        f"{given.iterations} iterations. Plain's obedience: {obedience.text()}. {CLUSTERED_NOTE}"
    )
    notes = [
        f"Chosen: {chosen.text()}; of all the one that holds its bars most surely, where a setting's margin is that of "
        f"the least sure of the three: wins {LEAST_WINS}, hacking {MOST_HACKED}, obedience lost {MOST_LOST}."
    ]
    columns = ("setting", "wins over plain", "hacking", "obedience lost", "PrefDisc score", "margin, standard errors")
    return Report("ReNO's setting", measured, columns, rows, result, draw(told, chosen), notes)


def draw(told: Mapping[Setting, Mapping[str, Estimate]], chosen: Setting) -> Figure:
    """Wins over hacking: every setting a dot, the chosen one in colour."""
    drawn, axes = plotting.new_figure(7, 4.6)
    for setting, row in told.items():
        win, hacking = row["win_rate"], row["hacking_fraction"]
        colour = plotting.OURS if setting == chosen else plotting.QUIET
        axes.plot([hacking.low, hacking.high], [win.value] * 2, color=colour, alpha=0.3)
        axes.plot([hacking.value] * 2, [win.low, win.high], color=colour, alpha=0.3)
        axes.scatter([hacking.value], [win.value], color=colour, s=36, linewidths=0, zorder=3)
        label = f"{setting.starts}, {setting.learning_rate:g}, {setting.by}, CLIP {setting.clip:g}"
        axes.annotate(label, (hacking.value, win.value), (5, 4), textcoords="offset points", fontsize=7.5)
    axes.axvline(MOST_HACKED, color=plotting.LIMIT, linewidth=1, linestyle=(0, (4, 3)))
    axes.set_xlabel("score rose, true utility fell", fontsize=9)
    axes.set_ylabel("wins over plain", fontsize=9)
    plotting.clean_axes(axes)
    plotting.set_heading(
        drawn, f"Chosen: {chosen.text()}", "Starts, learning rate, reading, CLIP's weight; 95 % intervals."
    )
    return drawn


def add_options(parser: argparse.ArgumentParser) -> None:
    """Which settings."""
    add_generator(parser)
    parser.add_argument("--learning-rates", type=float, nargs="+", default=RATES, help="to try")
    parser.add_argument("--clips", type=float, nargs="+", default=CLIPS, help="weights of the pocket CLIP to try")
    parser.add_argument("--readings", nargs="+", choices=READINGS, default=READINGS, help="of the preference, to try")
    parser.add_argument(
        "--views", type=int, nargs="+", default=VIEWS, help="of every image, to try; 0: the image itself"
    )
    parser.add_argument(
        "--starts", type=int, nargs="+", default=STARTS, help="noises to start from the best of, to try"
    )
    parser.add_argument("--regulariser", type=float, default=Setting.regulariser, help="weight of the noise's norm")


def main(argv: list[str] | None = None) -> dict:
    """The command."""
    return run_command("reno.sweep", measure, USERS, argv, add_options, __doc__)


if __name__ == "__main__":
    main()
