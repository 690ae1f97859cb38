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

from train.evaluate import style
from train.evaluate.command import CLUSTERED, Options, Report, command
from train.evaluate.judge import load_judge
from train.evaluate.pictures.agents import PROMPTS, SEEDS
from train.evaluate.pictures.drawn import validation_agents
from train.evaluate.pictures.measuring import Instruments
from train.evaluate.reno.report import MOST_HACKED, MOST_LOST, Found
from train.evaluate.reno.run import add_generator, compare, painting_of
from train.evaluate.reno.setting import Setting
from train.evaluate.statistics import Estimate
from train.pocket.people import FOR_CHOOSING

USERS = 12
RATES, CLIPS, READINGS, VIEWS, STARTS = (2.0, 5.0), (0.5, 1.0), ("score", "margin"), (4,), (1, 15)


def choose(told: Mapping[Setting, Mapping[str, Estimate]], plain: float) -> Setting:
    """The setting that wins most of those that hack and lose obedience little enough; where there is none, the one
    that hacks least. plain: plain's obedience."""
    allowed = [
        setting
        for setting, row in told.items()
        if row["hacking_fraction"].value < MOST_HACKED and plain - row["obedience"].value <= MOST_LOST
    ]
    if allowed:
        return max(allowed, key=lambda setting: told[setting]["win_rate"].value)
    return min(told, key=lambda setting: told[setting]["hacking_fraction"].value)


def measure(options: Options) -> Report:
    """Paint plain and every setting; choose."""
    given = options.given
    settings = [
        Setting(rate, given.regulariser, clip=clip, by=by, views=views, starts=starts)
        for starts, rate, clip, by, views in product(
            given.starts, given.learning_rates, given.clips, given.readings, given.views
        )
    ]
    agents, eyes = validation_agents(options)
    painting = painting_of(options, settings[0])
    instruments = Instruments(painting.model, load_judge("validation_judge"), eyes, agents)
    found: dict[Setting, Found] = {}
    for setting in tqdm(settings, desc="settings", unit="settings"):
        both = compare(instruments, replace(painting, setting=setting), ["plain", "reno"])
        found[setting], plain = both["reno"], both["plain"]
    told = {setting: row.told for setting, row in found.items()}
    obedience = plain.told["obedience"]
    chosen = choose(told, obedience.value)
    shown = ("win_rate", "hacking_fraction", "obedience", "score")
    result = {
        "setting": chosen.told(),
        "settings": [s.told() | {what: row[what].to_json() for what in shown} for s, row in told.items()],
        "obedience_plain": obedience.to_json(),
        "kept_under": bool(told[chosen]["hacking_fraction"].value < MOST_HACKED),
        "iterations": given.iterations,
        "users": options.users,
        "checkpoint": options.checkpoint,
    }
    rows = [(setting.text(), *(row[what].text() for what in shown)) for setting, row in told.items()]
    measured = (
        f"{options.users:,} validation agents over {options.told_seeds}, {PROMPTS * SEEDS} pictures each, of prompts "
        f"({', '.join(FOR_CHOOSING)}), posters and noise that the test does not have, read by the validation judge; "
        f"{given.iterations} iterations. Plain's obedience: {obedience.text()}. {CLUSTERED}"
    )
    notes = [
        f"Chosen: {chosen.text()}; of the settings that hack in less than {MOST_HACKED} of the runs and lose at most "
        f"{MOST_LOST} of plain's obedience, the one that wins most (where there is none, the one that hacks least)."
    ]
    columns = ("setting", "wins over plain", "hacking", "obedience", "PrefDisc score")
    return Report("ReNO's setting", measured, columns, rows, result, draw(told, chosen), notes)


def draw(told: Mapping[Setting, Mapping[str, Estimate]], chosen: Setting) -> Figure:
    """Wins over hacking: every setting a dot, the chosen one in colour."""
    drawn, axes = style.figure(7, 4.6)
    for setting, row in told.items():
        win, hacking = row["win_rate"], row["hacking_fraction"]
        colour = style.OURS if setting == chosen else style.QUIET
        axes.plot([hacking.low, hacking.high], [win.value] * 2, color=colour, alpha=0.3)
        axes.plot([hacking.value] * 2, [win.low, win.high], color=colour, alpha=0.3)
        axes.scatter([hacking.value], [win.value], color=colour, s=36, linewidths=0, zorder=3)
        label = f"{setting.starts}, {setting.learning_rate:g}, {setting.by}, CLIP {setting.clip:g}"
        axes.annotate(label, (hacking.value, win.value), (5, 4), textcoords="offset points", fontsize=7.5)
    axes.axvline(MOST_HACKED, color=style.LIMIT, linewidth=1, linestyle=(0, (4, 3)))
    axes.set_xlabel("score rose, true utility fell", fontsize=9)
    axes.set_ylabel("wins over plain", fontsize=9)
    style.plain(axes)
    style.heading(drawn, f"Chosen: {chosen.text()}", "Starts, learning rate, reading, CLIP's weight; 95 % intervals.")
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
    return command("reno.sweep", measure, USERS, argv, add_options, __doc__)


if __name__ == "__main__":
    main()
