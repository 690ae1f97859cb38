"""Tests the report and the contact sheet of the demo."""

import json

import pytest
from PIL import Image

from demo.config import DemoConfig, HistoryFiles, PictureSpec, load_history_files, picture_specs
from demo.contact_sheet import PictureScores, draw_sheet
from demo.graph import build_graph
from demo.report import report_rows, summary

CONFIG = DemoConfig(prompts=("a lighthouse",))


@pytest.fixture
def report():
    made = picture_specs(CONFIG, "a lighthouse")
    score = {(spec, person): 0.9 if spec.person == person else 0.3 for spec in made for person in CONFIG.people}
    utility = {(spec, person): 2.0 if spec.person == person else -1.0 for spec in made for person in CONFIG.people}
    return report_rows(score, utility)


def test_every_picture_is_scored_for_everybody(report):
    assert len(report) == 6 * 2
    assert [row["for"] for row in report[::2]] == [None, "ada", "bo", None, "ada", "bo"]
    assert {row["scored_for"] for row in report} == {"ada", "bo"}
    assert json.loads(json.dumps(report)) == report


def test_right_and_wrong_people_are_told_apart(report):
    means = summary(report)
    assert list(means) == ["plain", "adapter", "plain_reno", "reno"]
    assert means["adapter"] == {
        "right": {"score": 0.9, "true_utility": 2.0},
        "wrong": {"score": 0.3, "true_utility": -1.0},
    }
    assert means["plain"]["right"] == means["plain"]["wrong"] == {"score": 0.3, "true_utility": -1.0}


def test_the_prompts_are_in_nobodys_history():
    for person in DemoConfig().people:
        assert not set(DemoConfig().prompts) & set(load_history_files(person).prompts)
        assert len(load_history_files(person).liked) == len(load_history_files(person).disliked) == 8


def test_one_graph_saves_every_picture_under_its_own_name():
    made = build_graph(CONFIG, "a lighthouse")
    assert list(made.saves) == picture_specs(CONFIG, "a lighthouse")
    assert len({spec.file for spec in made.saves}) == 6
    assert PictureSpec("a sailing boat", "reno", "bo").file == "a_sailing_boat-reno-bo.png"


def test_a_sheet_is_drawn(tmp_path):
    Image.new("RGB", (96, 96), "teal").save(tmp_path / "x.png")
    histories = [HistoryFiles(person, [tmp_path / "x.png"] * 8, [tmp_path / "x.png"] * 8) for person in CONFIG.people]
    pictures = {spec: Image.new("RGB", (96, 96), "orange") for spec in picture_specs(CONFIG, "a lighthouse")}
    numbers = {
        spec: PictureScores(dict.fromkeys(CONFIG.people, 0.5), dict.fromkeys(CONFIG.people, 1.0)) for spec in pictures
    }
    sheet = draw_sheet(CONFIG, histories, pictures, numbers)
    assert sheet.width > 6 * 192
    assert sheet.getpixel((sheet.width // 2, 5)) == (247, 244, 238)
