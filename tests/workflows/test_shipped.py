"""Every shipped workflow runs: the API ones as they are, the browser's ones by the frontend's own rules."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.workflows.convert import ONLY_SHOWN, inputs, to_api

FOLDER = Path(__file__).resolve().parents[2] / "workflows"
BROWSER = sorted(FOLDER.glob("*.json"))
API = sorted((FOLDER / "api").glob("*.json"))
ANY = "COMFY_MATCHTYPE_V3"  # a socket that becomes what is connected to it, as those of core's switch
named = pytest.mark.parametrize("path", BROWSER, ids=[path.stem for path in BROWSER])


def load(path):
    return json.loads(path.read_text())


def test_there_are_some():
    assert [path.name for path in BROWSER] == [path.name for path in API]
    assert BROWSER


@named
def test_it_has_a_picture(path):
    with Image.open(path.with_suffix(".jpg")) as picture:
        assert min(picture.size) >= 256


@named
def test_its_links_fit(path, comfy):
    workflow, known = load(path), comfy.object_info()
    nodes = {node["id"]: node for node in workflow["nodes"]}
    assert len({link[0] for link in workflow["links"]}) == len(workflow["links"])
    for link, source, output, target, slot, kind in workflow["links"]:
        assert nodes[source]["outputs"][output]["type"] in (kind, ANY)
        assert link in nodes[source]["outputs"][output]["links"]
        assert known[nodes[source]["type"]]["output"][output] in (kind, ANY)
        assert nodes[target]["inputs"][slot]["link"] == link
        name = nodes[target]["inputs"][slot]["name"]
        assert {kind, ANY} & set(str(inputs(known[nodes[target]["type"]])[name][0]).split(","))
    assert max(nodes) <= workflow["last_node_id"]
    assert any(node["type"] in ONLY_SHOWN for node in workflow["nodes"]), "a note says what to try"


@named
def test_the_api_format_is_the_same_graph(path, comfy):
    assert load(FOLDER / "api" / path.name) == to_api(load(path), comfy.object_info())


@pytest.mark.parametrize("path", API, ids=[path.stem for path in API])
def test_it_runs_and_shows_a_picture(path, comfy):
    graph = load(path)
    result = comfy.run(graph)
    saved = [node for node, given in graph.items() if given["class_type"] == "SaveImage"]
    assert saved
    for node in saved:
        pixels = result.pixels(node)
        assert pixels.shape[1:] == (96, 96, 3)
        assert np.isfinite(pixels).all()
        assert pixels.std() > 0.02, "one flat colour is no picture"
