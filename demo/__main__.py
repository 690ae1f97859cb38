"""Runs the demo, and writes out/demo/sheet.png and out/demo/report.json.

    make demo          (or: make python ARGS="-m demo")

Prints the path of the contact sheet, a table and, on the last line, the summary as JSON: the mean score and true
utility of each method, for the person a picture was generated for ("right") and for the other person ("wrong").
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
class Stopwatch:
    """Measures how many seconds each part takes."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        start = time.monotonic()
        yield
        self.seconds[part] = round(time.monotonic() - start, 2)


def render(config: DemoConfig, stopwatch: Stopwatch) -> tuple[dict, dict]:
    """Generate and score all pictures with a real server: pictures by spec, scores by (spec, person)."""
    pictures, scores = {}, {}
    steps = len(config.prompts) * (len(picture_specs(config, "")) + len(config.people))
    bar = tqdm(
        total=steps, desc="starting ComfyUI", bar_format="{desc:<20}{bar:30} {elapsed}", leave=False, disable=None
    )
    with bar, running_server() as server:
        stopwatch.seconds["start"] = round(server.seconds_to_start, 2)
        client = Client(server)
        for prompt in config.prompts:
            bar.set_description_str(prompt)
            with stopwatch(f"paint {prompt}"):
                prompt_pictures, prompt_scores = generate_and_score(client, config, prompt, on_node=bar.update)
            pictures |= prompt_pictures
            scores |= prompt_scores
    return pictures, scores


def write(config: DemoConfig, pictures: dict, scores: dict, stopwatch: Stopwatch, folder: Path) -> dict:
    """Compute true utilities, write pictures, contact sheet and report, and return the summary."""
    with stopwatch("judge"):
        utilities = true_utilities(pictures, config.people)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for spec, picture in pictures.items():
        picture.save(folder / spec.file)
    scores_by_picture = {
        spec: PictureScores(
            {person: scores[spec, person] for person in config.people},
            {person: utilities[spec, person] for person in config.people},
        )
        for spec in pictures
    }
    with stopwatch("sheet"):
        draw_sheet(config, [load_history_files(person) for person in config.people], pictures, scores_by_picture).save(
            folder / "sheet.png"
        )
    report = report_rows(scores, utilities, f"{os.path.relpath(folder, ROOT)}/")
    stopwatch.seconds["total"] = round(sum(stopwatch.seconds.values()), 2)
    (folder / "report.json").write_text(json.dumps({"scores": report, "seconds": stopwatch.seconds}, indent=1) + "\n")
    return summary(report)


def main() -> None:
    """Run the demo."""
    config, stopwatch = DemoConfig(), Stopwatch()
    pictures, scores = render(config, stopwatch)
    means = write(config, pictures, scores, stopwatch, OUT)
    print(f"\nContact sheet: {OUT / 'sheet.png'}   ({stopwatch.seconds['total']:.0f} s)\n")
    print_table(means, print)
    print()
    print(json.dumps(means))


if __name__ == "__main__":
    main()
