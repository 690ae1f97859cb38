"""Runs the learning demo, and writes report.json, plot.png and picture strips to out/learn.

    make learn-demo          (or: make python ARGS="-m demo.learn --agents 4")

An agent (simulated user) starts without a profile. In every round, four posters of a new subject are generated as in
workflows/api/quickstart.json, with the current profile. The agent likes the pictures whose true utility (from
attributes that the judge predicts) is above the mean of all its pictures so far, dislikes the others, and sends its
ratings to the HTTP routes. Plain pictures with the same prompts and noise are generated for comparison. `strip.png`
shows the first agent, `agents/` all of them.

Takes about a quarter of an hour on two processor cores. The last line is the summary as JSON.
"""

import argparse
import json
import shutil
import time
from pathlib import Path

from tqdm import tqdm

from demo.config import ROOT
from demo.learn.config import LearnConfig
from demo.learn.picture_strip import draw_strip
from demo.learn.rating_loop import Round, run_rounds
from demo.learn.report import by_agent, draw_plot, summarise, utilities
from demo.learn.simulated_raters import SimulatedRater, sample_raters
from tests.comfyui import Client, running_server
from train.evaluate.judge import load_judge

OUT = ROOT / "out" / "learn"


def parse(arguments: list[str] | None = None) -> tuple[LearnConfig, Path]:
    """Parse the command line into a config and an output folder."""
    default = LearnConfig()
    parser = argparse.ArgumentParser(prog="python -m demo.learn", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--agents", type=int, default=default.agents, help="number of simulated users (default: %(default)s)"
    )
    parser.add_argument(
        "--rounds", type=int, default=default.rounds, help="number of rounds per agent (default: %(default)s)"
    )
    parser.add_argument(
        "--seed", type=int, default=default.seed, help="seed for agents and noise (default: %(default)s)"
    )
    parser.add_argument("--out", type=Path, default=OUT, help="output folder (default: out/learn)")
    options = parser.parse_args(arguments)
    if options.agents < 2 or options.rounds < 2 or options.seed < 0:
        parser.error(
            f"agents is {options.agents}, rounds is {options.rounds} and seed is {options.seed}; expected 2 or more "
            "agents, 2 or more rounds and a seed of at least 0."
        )
    return LearnConfig(options.agents, options.rounds, options.seed), options.out


def render(config: LearnConfig, raters: list[SimulatedRater]) -> list[list[Round]]:
    """Run all rounds on a temporary server, which is deleted at the end together with its profiles."""
    layout = "{desc:<20}{bar:30} {n_fmt}/{total_fmt} {elapsed}<{remaining}"
    total = config.agents * config.rounds
    with tqdm(total=total, desc="starting ComfyUI", bar_format=layout, leave=False) as bar:

        def on_round(round_index: int) -> None:
            bar.set_description_str(f"round {round_index + 1} of {config.rounds}", refresh=False)
            bar.update()

        with running_server() as server:
            return run_rounds(Client(server), config, raters, on_round)


def write(
    config: LearnConfig, raters: list[SimulatedRater], rounds_by_agent: list[list[Round]], seconds: float, folder: Path
) -> dict:
    """Write the report, the plot and the picture strips, and return the summary."""
    own, plain = utilities(rounds_by_agent)
    summary = summarise(config, own, plain) | {"seconds": round(seconds, 1)}
    for name in ("report.json", "plot.png", "strip.png"):
        (folder / name).unlink(missing_ok=True)
    shutil.rmtree(folder / "agents", ignore_errors=True)
    (folder / "agents").mkdir(parents=True)
    strips = [draw_strip(rater, rounds) for rater, rounds in zip(raters, rounds_by_agent, strict=True)]
    for rater, strip in zip(raters, strips, strict=True):
        strip.save(folder / "agents" / f"{rater.agent.name.replace(' ', '-')}.jpg", quality=90)
    strips[0].save(folder / "strip.png")
    draw_plot(own, plain).savefig(folder / "plot.png", bbox_inches="tight", pad_inches=0.15)
    report = summary | {"by_agent": by_agent(config, rounds_by_agent, own, plain)}
    (folder / "report.json").write_text(json.dumps(report, indent=1) + "\n")
    return summary


def main(arguments: list[str] | None = None) -> None:
    """Run the learning demo."""
    config, folder = parse(arguments)
    start = time.monotonic()
    raters = sample_raters(config, load_judge())
    rounds_by_agent = render(config, raters)
    summary = write(config, raters, rounds_by_agent, time.monotonic() - start, folder)
    print(f"\nPlot: {folder / 'plot.png'}   First agent's rounds: {folder / 'strip.png'}\n")
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
