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

from demo.painting import paint
from demo.plan import ROOT, Plan, cells, wall
from demo.report import rows, summary, table, true_utilities
from demo.sheet import Numbers, draw_sheet
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


def render(plan: Plan, clock: Clock) -> tuple[dict, dict]:
    """Paint and score everything through a real server: pictures by cell, scores by (cell, person)."""
    pictures, scores = {}, {}
    steps = len(plan.prompts) * (len(cells(plan, "")) + len(plan.people))
    bar = tqdm(
        total=steps, desc="starting ComfyUI", bar_format="{desc:<20}{bar:30} {elapsed}", leave=False, disable=None
    )
    with bar, running_server() as server:
        clock.seconds["start"] = round(server.seconds_to_start, 2)
        client = Client(server)
        for prompt in plan.prompts:
            bar.set_description_str(prompt)
            with clock(f"paint {prompt}"):
                painted, scored = paint(client, plan, prompt, on_node=bar.update)
            pictures |= painted
            scores |= scored
    return pictures, scores


def write(plan: Plan, pictures: dict, scores: dict, clock: Clock, folder: Path) -> dict:
    """Judge the pictures, write them with the sheet and the report, and return the summary."""
    with clock("judge"):
        utilities = true_utilities(pictures, plan.people)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for cell, picture in pictures.items():
        picture.save(folder / cell.file)
    numbers = {
        cell: Numbers(
            {person: scores[cell, person] for person in plan.people},
            {person: utilities[cell, person] for person in plan.people},
        )
        for cell in pictures
    }
    with clock("sheet"):
        draw_sheet(plan, [wall(person) for person in plan.people], pictures, numbers).save(folder / "sheet.png")
    report = rows(scores, utilities, f"{os.path.relpath(folder, ROOT)}/")
    clock.seconds["total"] = round(sum(clock.seconds.values()), 2)
    (folder / "report.json").write_text(json.dumps({"scores": report, "seconds": clock.seconds}, indent=1) + "\n")
    return summary(report)


def main() -> None:
    plan, clock = Plan(), Clock()
    pictures, scores = render(plan, clock)
    means = write(plan, pictures, scores, clock, OUT)
    print(f"\nThe sheet: {OUT / 'sheet.png'}   ({clock.seconds['total']:.0f} s)\n")
    table(means, print)
    print()
    print(json.dumps(means))


if __name__ == "__main__":
    main()
