"""The demo's bookkeeping: who a picture was for, and the means."""

import json

import pytest
from PIL import Image

from demo.painting import painting
from demo.plan import Cell, Plan, Wall, cells, wall
from demo.report import rows, summary
from demo.sheet import Numbers, draw_sheet

PLAN = Plan(prompts=("a lighthouse",))


@pytest.fixture
def report():
    made = cells(PLAN, "a lighthouse")
    score = {(cell, person): 0.9 if cell.person == person else 0.3 for cell in made for person in PLAN.people}
    utility = {(cell, person): 2.0 if cell.person == person else -1.0 for cell in made for person in PLAN.people}
    return rows(score, utility)


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
    for person in Plan().people:
        assert not set(Plan().prompts) & set(wall(person).prompts)
        assert len(wall(person).liked) == len(wall(person).disliked) == 8


def test_one_graph_saves_every_picture_under_its_own_name():
    made = painting(PLAN, "a lighthouse")
    assert list(made.saves) == cells(PLAN, "a lighthouse")
    assert len({cell.file for cell in made.saves}) == 6
    assert Cell("a sailing boat", "reno", "bo").file == "a_sailing_boat-reno-bo.png"


def test_a_sheet_is_drawn(tmp_path):
    Image.new("RGB", (96, 96), "teal").save(tmp_path / "x.png")
    walls = [Wall(person, [tmp_path / "x.png"] * 8, [tmp_path / "x.png"] * 8) for person in PLAN.people]
    pictures = {cell: Image.new("RGB", (96, 96), "orange") for cell in cells(PLAN, "a lighthouse")}
    numbers = {cell: Numbers(dict.fromkeys(PLAN.people, 0.5), dict.fromkeys(PLAN.people, 1.0)) for cell in pictures}
    sheet = draw_sheet(PLAN, walls, pictures, numbers)
    assert sheet.width > 6 * 192
    assert sheet.getpixel((sheet.width // 2, 5)) == (247, 244, 238)
