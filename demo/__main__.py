"""Paint, score, judge, and write out/demo/sheet.png and out/demo/report.json.

    make demo          (or: make python ARGS="-m demo")

Prints where the sheet is, a small table and, last, the summary as one JSON line: each method's mean score and true
utility for the person a picture was made for ("right") and for the other ("wrong").
"""

import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from demo.config import ROOT, DemoConfig, load_history_files, picture_specs
from demo.contact_sheet import PictureScores, draw_sheet
from demo.graph import generate_and_score
from demo.report import print_table, report_rows, summary, true_utilities
from tests.comfyui import Client, running_server

OUT = ROOT / "out" / "demo"


@dataclass
class Clock:
    """How many seconds each part took."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        self.seconds[part] = round(time.monotonic() - began, 2)


def render(config: DemoConfig, clock: Clock) -> tuple[dict, dict]:
    """Paint and score everything through a real server: pictures by spec, scores by (spec, person)."""
    pictures, scores = {}, {}
    steps = len(config.prompts) * (len(picture_specs(config, "")) + len(config.people))
    bar = tqdm(
        total=steps, desc="starting ComfyUI", bar_format="{desc:<20}{bar:30} {elapsed}", leave=False, disable=None
    )
    with bar, running_server() as server:
        clock.seconds["start"] = round(server.seconds_to_start, 2)
        client = Client(server)
        for prompt in config.prompts:
            bar.set_description_str(prompt)
            with clock(f"paint {prompt}"):
                painted, scored = generate_and_score(client, config, prompt, on_node=bar.update)
            pictures |= painted
            scores |= scored
    return pictures, scores


def write(config: DemoConfig, pictures: dict, scores: dict, clock: Clock, folder: Path) -> dict:
    """Judge the pictures, write them with the sheet and the report, and return the summary."""
    with clock("judge"):
        utilities = true_utilities(pictures, config.people)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for spec, picture in pictures.items():
        picture.save(folder / spec.file)
    numbers = {
        spec: PictureScores(
            {person: scores[spec, person] for person in config.people},
            {person: utilities[spec, person] for person in config.people},
        )
        for spec in pictures
    }
    with clock("sheet"):
        draw_sheet(config, [load_history_files(person) for person in config.people], pictures, numbers).save(
            folder / "sheet.png"
        )
    report = report_rows(scores, utilities, f"{os.path.relpath(folder, ROOT)}/")
    clock.seconds["total"] = round(sum(clock.seconds.values()), 2)
    (folder / "report.json").write_text(json.dumps({"scores": report, "seconds": clock.seconds}, indent=1) + "\n")
    return summary(report)


def main() -> None:
    config, clock = DemoConfig(), Clock()
    pictures, scores = render(config, clock)
    means = write(config, pictures, scores, clock, OUT)
    print(f"\nThe sheet: {OUT / 'sheet.png'}   ({clock.seconds['total']:.0f} s)\n")
    print_table(means, print)
    print()
    print(json.dumps(means))


if __name__ == "__main__":
    main()
