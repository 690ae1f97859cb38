"""Paint for agents who rate what they get, and write out/learn: report.json, plot.png, and what each agent saw.

    make learn-demo          (or: make python ARGS="-m demo.learn --agents 4")

An agent begins with no profile. Every round four posters of another subject are painted as workflows/quickstart.json
paints, with what the profile says by then; the agent looks at them with the judge's eyes, likes what is of higher true
utility than the mean of all it has been shown and dislikes what is of lower, through the routes, and the next round
begins. Plain pictures of the same prompts and noise are painted beside them. `strip.png` shows the first agent,
`agents/` all of them.

About a quarter of an hour on two processor cores. The last line is the summary as JSON.
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
    """What the command line asks for, and where the results go."""
    default = LearnConfig()
    parser = argparse.ArgumentParser(prog="python -m demo.learn", description=__doc__.splitlines()[0])
    parser.add_argument("--agents", type=int, default=default.agents, help="simulated users (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=default.rounds, help="each agent's (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=default.seed, help="of agents and noise (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=OUT, help="the folder of the results (default: out/learn)")
    given = parser.parse_args(arguments)
    if given.agents < 2 or given.rounds < 2 or given.seed < 0:
        parser.error(
            f"{given.agents} agents, {given.rounds} rounds and seed {given.seed}, expected 2 or more agents (intervals "
            "are over agents), 2 or more rounds (nothing is learned before the second), and a seed from 0 on"
        )
    return LearnConfig(given.agents, given.rounds, given.seed), given.out


def render(config: LearnConfig, raters: list[SimulatedRater]) -> list[list[Round]]:
    """Paint and rate everything on a server of its own, whose profiles go with it."""
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
    """Write the report, the plot and the strips, and return the summary."""
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
    config, folder = parse(arguments)
    began = time.monotonic()
    raters = sample_raters(config, load_judge())
    rounds_by_agent = render(config, raters)
    summary = write(config, raters, rounds_by_agent, time.monotonic() - began, folder)
    print(f"\nThe curve: {folder / 'plot.png'}   One agent's rounds: {folder / 'strip.png'}\n")
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
