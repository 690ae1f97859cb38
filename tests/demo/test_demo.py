"""Tests a small version of the demo on the test server."""

import json
from dataclasses import replace

from PIL import Image

from demo.__main__ import Stopwatch, write
from demo.config import DemoConfig
from demo.graph import generate_and_score

SMALL = replace(DemoConfig(), prompts=("a cactus",), iterations=2, num_initial_noises=1)


def test_one_prompt_from_painting_to_report(comfy, tmp_path):
    shown = []
    pictures, scores = generate_and_score(comfy, SMALL, "a cactus", on_node=lambda: shown.append(1))
    assert len(pictures) == 6
    assert len(scores) == 12
    assert len(shown) >= len(pictures) + len(SMALL.people)
    assert all(0 <= score <= 1 for score in scores.values())
    means = write(SMALL, pictures, scores, Stopwatch({"start": 1.0}), tmp_path)
    report = json.loads((tmp_path / "report.json").read_text())
    assert len(report["scores"]) == 12
    assert report["seconds"]["total"] >= 1
    assert set(means) == {"plain", "adapter", "plain_reno", "reno"}
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width > 1000
    assert len(list(tmp_path.glob("a_cactus-*.png"))) == 6
