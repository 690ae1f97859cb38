"""What shared workflows rely on: every node's inputs and outputs are those of the snapshot, where a change is seen."""

import copy
import json
from pathlib import Path

import pytest

from scripts import schemas

RELEASED = Path(__file__).with_name("released")

TOLD = 'see what changed, and write it anew with: make python ARGS="-m scripts.schemas"'


@pytest.mark.server
def test_the_nodes_are_those_of_the_snapshot(comfy):
    found = schemas.schemas(comfy.object_info())
    kept = json.loads(schemas.SNAPSHOT.read_text())
    assert found.keys() == kept.keys(), TOLD
    for name, node in found.items():
        assert node == kept[name], f"{name}: {TOLD}"


@pytest.mark.parametrize("release", sorted(RELEASED.glob("*.json")), ids=lambda path: path.stem)
def test_workflows_of_every_release_stay_valid(release):
    """Node ids are never renamed and inputs are only appended. A release adds its snapshot to this folder."""
    assert not schemas.breaks(json.loads(release.read_text()), json.loads(schemas.SNAPSHOT.read_text()))


def test_the_snapshot_reads_a_line_an_input():
    text = schemas.SNAPSHOT.read_text()
    snapshot = json.loads(text)
    assert schemas.format_snapshot(snapshot) == text
    lines = text.splitlines()
    for node in snapshot.values():
        for given in node["inputs"] + node["outputs"]:
            assert any(line.strip().rstrip(",") == json.dumps(given) for line in lines)


def node(**changes):
    inputs = [
        {"name": "images", "type": "IMAGE", "optional": False},
        {"name": "rule", "type": "COMBO", "optional": False, "options": ["a", "b"]},
        {"name": "most", "type": "INT", "optional": True, "default": 8, "min": 1, "max": 64},
    ]
    return {"inputs": inputs, "outputs": [{"name": "image", "type": "IMAGE", "list": False}]} | changes


def with_input(place, **changes):
    inputs = copy.deepcopy(node()["inputs"])
    inputs[place] |= changes
    return node(inputs=inputs)


ADDED = {"name": "seed", "type": "INT", "optional": True, "default": 0}


@pytest.mark.parametrize(
    ("after", "told"),
    [
        ({}, "Node is gone"),
        ({"Node": with_input(0, name="pictures")}, "only be appended; before, they were images, rule, most"),
        ({"Node": node(inputs=[ADDED, *node()["inputs"]])}, "inputs may only be appended"),
        ({"Node": node(inputs=node()["inputs"][:2])}, "inputs may only be appended"),
        ({"Node": node(inputs=[*node()["inputs"], ADDED | {"optional": False}])}, "seed: new inputs must be optional"),
        ({"Node": with_input(0, type="MASK")}, "images: was IMAGE, is MASK"),
        ({"Node": with_input(1, options=["a", "c"])}, "rule: option 'b' is gone"),
        ({"Node": with_input(2, default=4)}, "most: default was 8, is 4"),
        ({"Node": with_input(2, max=32)}, "most: max was 64, is 32"),
        ({"Node": with_input(2, min=2)}, "most: min was 1, is 2"),
        ({"Node": with_input(2, optional=False)}, "most: was optional"),
        ({"Node": node(outputs=[])}, "outputs may only be appended; before, they were IMAGE"),
    ],
)
def test_what_breaks_workflows_is_told(after, told):
    lines = schemas.breaks({"Node": node()}, after)
    assert any(told in line for line in lines), lines


@pytest.mark.parametrize(
    "after",
    [
        node(),
        node(inputs=[*node()["inputs"], ADDED]),
        node(outputs=[*node()["outputs"], {"name": "scores", "type": "FLOAT", "list": True}]),
        with_input(1, options=["a", "b", "c"]),
        with_input(2, max=128),
    ],
)
def test_what_breaks_none_is_not(after):
    assert schemas.breaks({"Node": node()}, {"Node": after, "New": node()}) == []


def test_a_renamed_node_with_an_entry_is_not_gone():
    assert schemas.breaks({"Node": node()}, {"Renamed": node()}, {"Node"}) == []
