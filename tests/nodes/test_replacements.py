"""Renamed nodes: a workflow that holds an old name runs, and every entry fits the node it leads to."""

import json
from pathlib import Path

import numpy as np
import pytest

from scripts import schemas
from tests.comfyui import Client, Graph, running_server
from tests.comfyui.server import PACK

pytestmark = pytest.mark.server

OLD, NEW = "OpenPictures", "LoadUserHistory"


@pytest.fixture(scope="module")
def comfy():
    """A server of its own, on which the pack `old_names` says that a node was renamed: no other should know of it."""
    with running_server({"prefgen": PACK, "old_names": Path(__file__).with_name("old_names")}) as server:
        yield Client(server)


def ours(comfy):
    """Our nodes, and the entries that lead to one of them, by the old name."""
    nodes = schemas.pack_nodes(comfy.object_info())
    listed = json.loads(comfy.request("/node_replacements"))
    return nodes, {old: entry for old, entries in listed.items() for entry in entries if entry["new_node_id"] in nodes}


def test_every_entry_fits_its_node(comfy):
    nodes, entries = ours(comfy)
    assert OLD in entries
    for old, entry in entries.items():
        node = nodes[entry["new_node_id"]]
        inputs = [name for group in ("required", "optional") for name in node["input_order"].get(group, [])]
        assert old not in comfy.object_info(), "a name in use needs no entry, and ComfyUI would not look at it"
        assert {one["new_id"] for one in entry["input_mapping"]} <= set(inputs), old
        assert set(node["input_order"]["required"]) <= {one["new_id"] for one in entry["input_mapping"]}, old
        assert all(one["new_idx"] < len(node["output"]) for one in entry["output_mapping"]), old


def test_the_packs_table_is_told_to_comfyui(comfy, pack):
    table = pack("nodes.replacements").RENAMED
    assert ours(comfy)[1].keys() - {OLD} == {entry.old_node_id for entry in table}


def test_a_workflow_with_the_old_name_paints_the_same(comfy):
    graph = Graph()
    graph.add(OLD, person="bo", seed=0.0, max_pairs=3)
    saved = [graph.add("SaveImage", images=["1", place], filename_prefix="t") for place in (0, 1)]
    for node in graph.nodes.values():
        node["_meta"] = {"title": "as the browser writes it"}
    old = comfy.run(graph)

    graph = Graph()
    history = graph.add(NEW, user="bo", max_pairs=3)
    wanted = [graph.add("SaveImage", images=history[place], filename_prefix="t") for place in (2, 1)]
    new = comfy.run(graph)
    for one, other in zip(saved, wanted, strict=True):
        assert len(old.pixels(one)) == 3, "max_pairs was carried over"
        assert np.array_equal(old.pixels(one), new.pixels(other))
    assert not np.array_equal(old.pixels(saved[0]), old.pixels(saved[1]))


def test_a_seeds_control_keeps_its_place_and_is_no_input(comfy):
    entry = ours(comfy)[1][OLD]
    assert entry["old_widget_ids"] == ["person", "seed", "control_after_generate", "max_pairs"]
    assert [one["old_id"] for one in entry["input_mapping"]] == ["person", "seed", "max_pairs"]
